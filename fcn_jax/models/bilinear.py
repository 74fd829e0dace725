"""Bilinear resizing, row by row: which rows an output row mixes, and how.

With half-pixel centres output row o lies at input coordinate (o + 0.5) * in / out - 0.5, clamped at the
border. With aligned corners it lies at o * (in - 1) / (out - 1): the first and the last rows coincide.
Sizes may be data: then one program resizes maps to any size.

Source: `torch.nn.functional.interpolate(..., "bilinear", align_corners=False or True, antialias=False)`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Taps = tuple[Any, Any, Any]
"""For each output row: its first input row, its second input row, and the weight of the second."""
MAX_SIDE = 32_000
"""Longest side of a map that is resized to a size that is data: int32 holds the products of its taps."""


def bilinear_taps(
    in_size: Any,
    out_size: Any,
    outputs: jax.Array | None = None,
    dtype: Any = np.float64,
    *,
    align_corners: bool = False,
) -> Taps:
    """Computes which two input rows each output row mixes, and their weights, from integers only.

    Args:
      in_size, out_size: numbers of rows; NumPy computes the taps. With `outputs` they may be traced int32 of
        at most `MAX_SIDE`, and JAX computes the taps.
      outputs: int32, the output rows, from 0 to `MAX_SIDE`; by default all. Those beyond the last get taps
        inside the map, without meaning.
      dtype: of the weights.
      align_corners: whether the first and the last rows coincide; see the module.

    Returns:
      low: int32, the first row; high: int32, the second, at the border the same row; weight: in [0, 1], the
      weight of `high`. Each has one value for each output row.
    """
    rows = np.arange(out_size) if outputs is None else outputs
    # The coordinate of each row is centre / whole, a fraction of integers.
    if align_corners:
        whole = np.maximum(out_size - 1, 1) if outputs is None else jnp.maximum(out_size - 1, 1)
        centre = rows * (in_size - 1)
    else:
        whole = 2 * out_size
        centre = ((2 * rows + 1) * in_size - out_size).clip(0)
    low = (centre // whole).clip(None, in_size - 1)
    high = (low + 1).clip(None, in_size - 1)
    return low.astype(np.int32), high.astype(np.int32), (centre % whole).astype(dtype) / whole


def bilinear_rows(
    x: jax.Array,
    size: tuple[int, int],
    start: jax.Array | int,
    count: int,
    *,
    align_corners: bool = False,
) -> jax.Array:
    """Computes rows start .. start + count - 1 of maps (N, h, w, C) resized to (H, W): (N, count, W, C)."""
    for axis in (1, 2):
        low, high, weight = bilinear_taps(x.shape[axis], size[axis - 1], align_corners=align_corners)
        low, high, weight = jnp.asarray(low), jnp.asarray(high), jnp.asarray(weight, x.dtype)
        if axis == 1:
            low, high, weight = (
                jax.lax.dynamic_slice_in_dim(tap, start, count) for tap in (low, high, weight)
            )
        weight = weight.reshape((-1,) + (1,) * (3 - axis))
        x = jnp.take(x, low, axis) * (1 - weight) + jnp.take(x, high, axis) * weight
    return x


def bilinear_rows_of_each(
    x: jax.Array,
    lengths: jax.Array,
    sizes: jax.Array,
    start: jax.Array | int,
    count: int,
    width: int,
    *,
    align_corners: bool = False,
) -> jax.Array:
    """Computes rows start .. start + count - 1 of maps, each resized to a size of its own.

    Args:
      x: (N, h, w, C) float; each map lies in the upper left corner.
      lengths: (N, 2) int32, rows and columns of each map.
      sizes: (N, 2) int32, to which each is resized, at most `MAX_SIDE`.
      start, count: the rows; `start` may be traced.
      width: W, the number of columns to compute.
      align_corners: see `bilinear_taps`.

    Returns:
      (N, count, W, C); what lies beyond the size of each map is undefined.
    """

    def of_one(x: jax.Array, lengths: jax.Array, sizes: jax.Array) -> jax.Array:
        for axis, (first, number) in enumerate(((start, count), (0, width))):
            outputs = first + jnp.arange(number, dtype=jnp.int32)
            low, high, weight = bilinear_taps(
                lengths[axis], sizes[axis], outputs, x.dtype, align_corners=align_corners
            )
            low, high = (jnp.take(x, tap, axis, mode="clip") for tap in (low, high))
            weight = weight.reshape((-1,) + (1,) * (2 - axis))
            x = low * (1 - weight) + high * weight
        return x

    return jax.vmap(of_one)(x, lengths, sizes)
