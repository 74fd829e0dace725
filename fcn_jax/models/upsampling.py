"""From coarse logits to logits at the size of the images, in four ways.

- `resize_bilinear` is for training. It is two matrix products, so its gradient needs no scatter-add: it is as
  fast as the forward pass and the same in every run on a GPU.
- `bilinear_rows` is for inference. It mixes rows and columns directly, in a third of the time of the matrix
  products, and computes only the rows that are needed.
- `resize_transposed` resizes to the size of the picture. It puts the classes on the middle axis, so that
  softmax on a CPU runs along vectors of pixels, four times as fast as with the classes last.
- `TransposedUpsampler` is the transposed convolution of the paper's networks.

The bilinear ways have half-pixel centres: output row o lies at input coordinate (o + 0.5) * in / out - 0.5,
clamped at the border, and mixes the two rows around it. Shrinking does not average.

Source: `torch.nn.functional.interpolate(..., "bilinear", align_corners=False, antialias=False)`, used by
torchvision's `_SimpleSegmentationModel`.
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.models.deconvolution import conv_transpose
from fcn_jax.models.grid import FeatureMap, Grid

Taps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""For each output row: its first input row, its second input row, and the weight of the second."""


class Upsampler(Protocol):
    """Upsamples coarse logits to logits, any range of rows at a time.

    An immutable pytree: it can be pickled and passed to jitted functions.
    """

    def size(self, coarse: Any, images: tuple[int, int]) -> tuple[int, int]:
        """Returns the size (H, W) of the logits of images of size `images`."""
        ...

    def rows(self, coarse: Any, size: tuple[int, int], start: jax.Array | int, count: int) -> jax.Array:
        """Computes rows start .. start + count - 1 of the logits.

        Args:
          coarse: coarse logits of one head.
          size: (H, W) of the logits.
          start: from 0 to H - count; may be traced.
          count: number of rows.

        Returns:
          (N, count, W, C), at least float32.
        """
        ...


def bilinear_taps(in_size: int, out_size: int) -> Taps:
    """Computes which two input rows each output row mixes, and their weights.

    Returns:
      low: (out_size,) int32, the first row; high: (out_size,) int32, the second, at the border the same row;
      weight: (out_size,) float64 in [0, 1], the weight of `high`.
    """
    if in_size < 1 or out_size < 1:
        raise ValueError(f"expected sizes of at least 1, got input {in_size} and output {out_size}")
    centre = np.maximum((np.arange(out_size) + 0.5) * (in_size / out_size) - 0.5, 0.0)
    low = np.minimum(centre.astype(np.int32), in_size - 1)
    high = np.minimum(low + 1, in_size - 1)
    return low, high, np.minimum(centre - low, 1.0)


def resize_bilinear(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes maps to `size`, up or down, in at least float32 and at full precision.

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


def bilinear_rows(x: jax.Array, size: tuple[int, int], start: jax.Array | int, count: int) -> jax.Array:
    """Computes rows start .. start + count - 1 of maps (N, h, w, C) resized to (H, W): (N, count, W, C)."""
    for axis in (1, 2):
        low, high, weight = bilinear_taps(x.shape[axis], size[axis - 1])
        low, high, weight = jnp.asarray(low), jnp.asarray(high), jnp.asarray(weight, x.dtype)
        if axis == 1:
            low, high, weight = (
                jax.lax.dynamic_slice_in_dim(tap, start, count) for tap in (low, high, weight)
            )
        weight = weight.reshape((-1,) + (1,) * (3 - axis))
        x = jnp.take(x, low, axis) * (1 - weight) + jnp.take(x, high, axis) * weight
    return x


def resize_transposed(x: jax.Array, rows: Taps, columns: Taps) -> jax.Array:
    """Resizes one map (h, w, C) to (W, C, H), with taps from `bilinear_taps` for rows and columns."""
    low, high, weight = rows
    weight = weight[:, None, None]
    x = x[low] * (1 - weight) + x[high] * weight
    x = x.transpose(1, 2, 0)
    low, high, weight = columns
    weight = weight[:, None, None]
    return x[low] * (1 - weight) + x[high] * weight


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class BilinearUpsampler:
    """Resizes coarse logits (N, h, w, C) bilinearly to the size of the images."""

    def size(self, coarse: jax.Array, images: tuple[int, int]) -> tuple[int, int]:
        """See `Upsampler`."""
        return images

    def rows(self, coarse: jax.Array, size: tuple[int, int], start: jax.Array | int, count: int) -> jax.Array:
        """See `Upsampler`."""
        return bilinear_rows(coarse, size, start, count)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransposedUpsampler:
    """Upsamples coarse logits by a transposed convolution, and crops them to the images.

    Attributes:
      kernel: (k, k, C, C); kernel and coarse logits are promoted to one dtype.
      stride: of the transposed convolution.
    """

    kernel: jax.Array
    stride: int = dataclasses.field(metadata={"static": True})

    def size(self, coarse: FeatureMap, images: tuple[int, int]) -> tuple[int, int]:
        """See `Upsampler`."""
        return images

    def rows(
        self, coarse: FeatureMap, size: tuple[int, int], start: jax.Array | int, count: int
    ) -> jax.Array:
        """See `Upsampler`."""
        kernel, stride = self.kernel.shape[0], self.stride
        grid = coarse.grid.deconv(kernel, stride)
        if count == size[0]:
            return FeatureMap(self._upsample(coarse.values), grid).cut(Grid(), size).values
        offset = grid.index_of(Grid())  # of the images in the upsampled map
        needed = (count + kernel) // stride + 2  # coarse rows that these rows depend on, or a few more
        first = (start + offset - kernel + 1) // stride
        x = jnp.pad(coarse.values, [(0, 0), (needed, needed), (0, 0), (0, 0)])  # zeros add nothing
        x = self._upsample(jax.lax.dynamic_slice_in_dim(x, first + needed, needed, axis=1))
        x = jax.lax.dynamic_slice_in_dim(x, start + offset - first * stride, count, axis=1)
        return x[:, :, offset : offset + size[1]]

    def _upsample(self, x: jax.Array) -> jax.Array:
        dtype = jnp.result_type(x, self.kernel)
        return conv_transpose(x.astype(dtype), self.kernel.astype(dtype), stride=self.stride)


def _interpolation_matrix(in_size: int, out_size: int) -> np.ndarray:
    low, high, weight = bilinear_taps(in_size, out_size)
    matrix = np.zeros((out_size, in_size))
    rows = np.arange(out_size)
    matrix[rows, low] += 1 - weight
    matrix[rows, high] += weight
    return matrix
