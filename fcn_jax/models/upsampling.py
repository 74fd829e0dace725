"""Bilinear resizing with half-pixel centres: torch's `interpolate(..., "bilinear", align_corners=False)`.

An output row o looks at the input coordinate (o + 0.5) * in / out - 0.5, clamped at the border, and mixes the
two rows around it. Nothing is averaged when shrinking (torch's default `antialias=False`).

Source: `torch.nn.functional.interpolate`, used by torchvision's `_SimpleSegmentationModel`.
"""

import jax
import jax.numpy as jnp
import numpy as np


def bilinear_taps(in_size: int, out_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Says which two input rows each output row mixes, and how.

    Returns:
      low: (out_size,) int32, the first row; high: (out_size,) int32, the second, the same row at the border;
      weight: (out_size,) float64 in [0, 1], the share of `high`.
    """
    if in_size < 1 or out_size < 1:
        raise ValueError(f"expected sizes of at least 1, got input {in_size} and output {out_size}")
    centre = np.maximum((np.arange(out_size) + 0.5) * (in_size / out_size) - 0.5, 0.0)
    low = np.minimum(centre.astype(np.int32), in_size - 1)
    high = np.minimum(low + 1, in_size - 1)
    return low, high, np.minimum(centre - low, 1.0)


def _interpolation_matrix(in_size: int, out_size: int) -> np.ndarray:
    low, high, weight = bilinear_taps(in_size, out_size)
    matrix = np.zeros((out_size, in_size))
    rows = np.arange(out_size)
    matrix[rows, low] += 1 - weight
    matrix[rows, high] += weight
    return matrix


def resize_bilinear(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes maps to `size`, up or down.

    The work is two matrix products, in at least float32 and at full precision. Unlike a gather, they have a
    gradient without scatter-add: as quick as the forward pass, and the same in every run on a GPU.

    Args:
      x: (N, h, w, C), any float dtype.
      size: (H, W), each at least 1.

    Returns:
      (N, H, W, C), float32 or, for float64 input, float64.

    Raises:
      ValueError: `x` is not of rank 4, or a size is below 1.
    """
    if x.ndim != 4:
        raise ValueError(f"expected maps (N, h, w, C), got shape {x.shape}")
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if x.shape[1:3] == tuple(size):
        return x
    rows, columns = (
        jnp.asarray(_interpolation_matrix(i, o), x.dtype) for i, o in zip(x.shape[1:3], size, strict=True)
    )
    x = jnp.einsum("Hh,nhwc->nHwc", rows, x, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("Ww,nhwc->nhWc", columns, x, precision=jax.lax.Precision.HIGHEST)
