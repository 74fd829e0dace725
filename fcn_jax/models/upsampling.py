"""From coarse logits to logits at the size of the images: every sampler there is, and why there are four.

- `resize_bilinear`, two matrix products, is for training: unlike a gather it has a gradient without
  scatter-add, which is as quick as the forward pass and the same in every run on a GPU.
- `bilinear_rows` picks and mixes rows and columns, for inference: a third of the time of the matrix products,
  and it makes only the rows that are asked for.
- `resize_transposed` does so with the classes in the middle, for resizing on to the size of a picture: on a
  CPU softmax then runs along vectors of pixels, four times as fast as with the classes last.
- `TransposedUpsampler` convolves, transposed, as the paper's networks do.

The bilinear ones have half-pixel centres: an output row o looks at the input coordinate
(o + 0.5) * in / out - 0.5, clamped at the border, and mixes the two rows around it. Nothing is averaged when
shrinking.

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
"""Of each output row: the first input row, the second, and the share of the second."""


class Upsampler(Protocol):
    """Makes logits of a model's coarse logits, as many rows at a time as are wanted.

    It is a value: a pytree of arrays, if it needs any, that can be pickled and passed to jitted functions.
    """

    def size(self, coarse: Any, images: tuple[int, int]) -> tuple[int, int]:
        """Tells the size (H, W) of the logits that images of a size get."""
        ...

    def rows(self, coarse: Any, size: tuple[int, int], start: jax.Array | int, count: int) -> jax.Array:
        """Computes rows start .. start + count - 1 of the logits.

        Args:
          coarse: the coarse logits of a head.
          size: (H, W) of the logits.
          start: from 0 to H - count; traced or not.
          count: how many.

        Returns:
          (N, count, W, C), at least float32.
        """
        ...


def bilinear_taps(in_size: int, out_size: int) -> Taps:
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
    """Resizes one map (h, w, C) to (W, C, H) by the taps of its rows and columns."""
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
    """Coarse logits (N, h, w, C), resized bilinearly to the size of the images."""

    def size(self, coarse: jax.Array, images: tuple[int, int]) -> tuple[int, int]:
        """See `Upsampler`."""
        return images

    def rows(self, coarse: jax.Array, size: tuple[int, int], start: jax.Array | int, count: int) -> jax.Array:
        """See `Upsampler`."""
        return bilinear_rows(coarse, size, start, count)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransposedUpsampler:
    """Coarse logits upsampled by a transposed convolution, and cropped to where the images lie.

    Attributes:
      kernel: (k, k, C, C), of the dtype that it computes in, unless that of the coarse logits is wider.
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
        offset = grid.index_of(Grid())  # of the image in the upsampled map
        reading = (count + kernel) // stride + 2  # coarse rows that these rows see, and no fewer
        first = (start + offset - kernel + 1) // stride
        x = jnp.pad(coarse.values, [(0, 0), (reading, reading), (0, 0), (0, 0)])  # zeros add nothing
        x = self._upsample(jax.lax.dynamic_slice_in_dim(x, first + reading, reading, axis=1))
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
