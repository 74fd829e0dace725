"""Pooling and local response normalization as in Caffe, for the paper's networks.

Source: Caffe's `PoolingLayer` and `LRNLayer`; `torch.nn.MaxPool2d(ceil_mode=True)` and
`torch.nn.LocalResponseNorm` compute the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.layers import at_least_float32

Pool = Callable[[jax.Array, int, int], jax.Array]
"""A way to compute `max_pool`."""


def padded_max_pool(
    x: jax.Array,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Sequence[tuple[int, int]],
) -> jax.Array:
    """Takes the maximum over windows; `padding`, (low, high) pixels for each axis, is never the maximum."""
    # nnx.max_pool accepts pairs of numbers, though its annotation says str.
    return nnx.max_pool(x, window, strides, cast(Any, padding))


def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Takes the maximum over square windows; the size is rounded up: ceil((n - window) / stride) + 1.

    The last window may reach beyond the end of the map.

    Args:
      x: (N, h, w, C).
      window: side of the windows, at least the stride.

    Raises:
      ValueError: the window is smaller than the stride, or the map is too small for any window.
    """
    sizes = [-((window - n) // stride) + 1 for n in x.shape[1:3]]
    if window < stride or min(sizes) < 1:
        raise ValueError(
            f"expected a window of at least the stride that covers some of the map; got window {window}, "
            f"stride {stride}, map {x.shape[1:3]}"
        )
    overhang = [(out - 1) * stride + window - n for out, n in zip(sizes, x.shape[1:3], strict=True)]
    return padded_max_pool(x, (window, window), (stride, stride), [(0, extra) for extra in overhang])


def local_response_norm(
    x: jax.Array, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> jax.Array:
    """Divides by (k + alpha / size * sum of squares over the `size` channels centred on each) ** beta.

    Channels beyond the ends count as zero. Alpha is divided by the window size, as in Caffe and PyTorch but
    not in Krizhevsky et al. (2012). Half precision is squared and summed in float32.

    Args:
      x: (N, h, w, C).
      size: odd, so that the window has a centre.

    Raises:
      ValueError: `size` is even.
    """
    if size % 2 == 0:
        raise ValueError(f"expected an odd size, got {size}")
    wide = at_least_float32(x)
    channels = x.shape[-1]
    squares = jnp.pad(jnp.square(wide), [(0, 0)] * (x.ndim - 1) + [(size // 2, size // 2)])
    total = sum(squares[..., i : i + channels] for i in range(size))
    return (wide * (k + alpha / size * total) ** -beta).astype(x.dtype)
