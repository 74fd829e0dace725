"""The pooling and normalization of Caffe's classifiers, which the paper's networks are made of.

Source: Caffe's `PoolingLayer` and `LRNLayer`; `torch.nn.MaxPool2d(ceil_mode=True)` and
`torch.nn.LocalResponseNorm` compute the same.
"""

from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.layers import at_least_float32


def padded_max_pool(
    x: jax.Array,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Sequence[tuple[int, int]],
) -> jax.Array:
    """Takes the maximum over windows; `padding`, in pixels (low, high) for each axis, never wins."""
    # nnx.max_pool takes pairs of numbers, though its annotation says str.
    return nnx.max_pool(x, window, strides, cast(Any, padding))


def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Takes the maximum over square windows, sizes rounded up: out = ceil((n - window) / stride) + 1.

    The last window may hang over the high end; what it misses never wins.

    Args:
      x: (N, h, w, C).
      window: its side, at least the stride.

    Raises:
      ValueError: a window below the stride, or a map so small that no window starts in it.
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

    Channels beyond the ends count as zero. Alpha is divided by the window size, as Caffe and PyTorch do and
    Krizhevsky et al. (2012) do not. Half precision is squared and summed in float32.

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
