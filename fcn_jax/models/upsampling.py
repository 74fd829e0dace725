"""From coarse logits to logits at the size of the images, in four ways.

- `resize_bilinear` is for training. It is two matrix products, so its gradient needs no scatter-add: it is as
  fast as the forward pass and the same in every run on a GPU.
- `bilinear_rows` is for inference. It mixes rows and columns directly, in a third of the time of the matrix
  products, and computes only the rows that are needed. `bilinear_rows_of_each` does so for maps of several
  sizes, which are data.
- `mix_transposed` is for the size of the picture. It mixes lines of a map as `Lines` say, so that sizes are
  data. It puts the classes on the middle axis, so that softmax on a CPU runs along vectors of pixels, four
  times as fast as with the classes last.
- `TransposedUpsampler` is the transposed convolution of the paper's networks.

The bilinear ways mix the two rows around each output row, which lies as `bilinear` says: with half-pixel
centres (torchvision, mmsegmentation) or with aligned corners (mmsegmentation's networks for 769x769).
Shrinking does not average.

Source: `torch.nn.functional.interpolate(..., "bilinear", antialias=False)`, used by torchvision's
`_SimpleSegmentationModel` and mmsegmentation's `resize`.
"""

import dataclasses
import functools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.models.bilinear import bilinear_rows, bilinear_rows_of_each, bilinear_taps
from fcn_jax.models.deconvolution import conv_transpose
from fcn_jax.models.grid import FeatureMap, Grid
from fcn_jax.models.layers import wide


class Lines(NamedTuple):
    """The rows, or the columns, of a map of which each of n output lines is a weighted sum; a pytree.

    Attributes:
      index: (T, n) int32, T lines of the map for each output line.
      weight: (T, n) float64.
    """

    index: Any
    weight: Any


class Upsampler(Protocol):
    """Upsamples coarse logits to logits: whole, or resized to the size of the picture, a block at a time.

    An immutable pytree: it can be pickled and passed to jitted functions.
    """

    def size(self, coarse: Any, images: tuple[int, int]) -> tuple[int, int]:
        """Returns the size (H, W) of the logits of images of size `images`."""
        ...

    def rows(
        self,
        coarse: Any,
        size: tuple[int, int],
        start: jax.Array | int,
        count: int,
        sizes: jax.Array | None = None,
    ) -> jax.Array:
        """Computes rows start .. start + count - 1 of the logits.

        Args:
          coarse: coarse logits of one head.
          size: (H, W) of the logits.
          start: from 0 to H - count; may be traced.
          count: number of rows.
          sizes: (N, 2) int32 as given to `coarse_logits`, or None. The upper left part of this size gets the
            logits of the image alone; the rest is undefined.

        Returns:
          (N, count, W, C), at least float32.
        """
        ...

    def lines(self, length: int, target: int) -> Lines:
        """Returns the lines for `block`, NumPy arrays, along one axis.

        Args:
          length: of the logits.
          target: of the picture, to which the logits are resized bilinearly.
        """
        ...

    def block(self, coarse: Any, rows: Lines, columns: Lines, spans: tuple[int, int]) -> jax.Array:
        """Computes a block of the logits resized to the picture.

        Args:
          coarse: coarse logits of one head and one image. They may lie in a larger buffer.
          rows, columns: parts of `lines`, for R rows and K columns.
          spans: how many rows and columns of the logits these reach over at most; static.

        Returns:
          (K, C, R), at least float32.
        """
        ...


def resize_bilinear(x: jax.Array, size: tuple[int, int], *, align_corners: bool = False) -> jax.Array:
    """Resizes maps to `size`, up or down, in at least float32 and at full precision.

    Args:
      x: (N, h, w, C), any float dtype.
      size: (H, W), each at least 1.
      align_corners: see `bilinear_taps`.

    Returns:
      (N, H, W, C), float32 or, for float64 input, float64.

    Raises:
      ValueError: `x` is not of rank 4, or a size is below 1.
    """
    if x.ndim != 4:
        raise ValueError(f"expected maps (N, h, w, C), got shape {x.shape}")
    if min(*x.shape[1:3], *size) < 1:
        raise ValueError(f"expected sizes of at least 1, got input {x.shape[1:3]} and output {tuple(size)}")
    x = x.astype(wide(x.dtype))
    if x.shape[1:3] == tuple(size):
        return x
    rows, columns = (
        jnp.asarray(_interpolation_matrix(i, o, align_corners), x.dtype)
        for i, o in zip(x.shape[1:3], size, strict=True)
    )
    x = jnp.einsum("Hh,nhwc->nHwc", rows, x, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("Ww,nhwc->nhWc", columns, x, precision=jax.lax.Precision.HIGHEST)


def resizing_lines(in_size: int, out_size: int, *, align_corners: bool = False) -> Lines:
    """Returns the lines of a bilinear resize: two for each output line, or one if the size stays."""
    low, high, weight = bilinear_taps(in_size, out_size, align_corners=align_corners)
    if in_size == out_size:
        return Lines(low[None], np.ones((1, out_size)))
    return Lines(np.stack([low, high]), np.stack([1 - weight, weight]))


def mix_transposed(x: jax.Array, rows: Lines, columns: Lines) -> jax.Array:
    """Mixes the lines of one map (h, w, C) to (K, C, R): R rows and K columns."""
    return _mix(_mix(x, rows).transpose(1, 2, 0), columns)


def _mix(x: jax.Array, lines: Lines) -> jax.Array:
    weight = jnp.asarray(lines.weight, x.dtype)[..., None, None]
    parts = (x[lines.index[t]] * weight[t] for t in range(len(weight)))
    return functools.reduce(jnp.add, parts)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class BilinearUpsampler:
    """Resizes coarse logits (N, h, w, C) bilinearly to the size of the images.

    Attributes:
      stride: of the network: n pixels have ceil(n / stride) coarse logits along an axis.
      align_corners: of both resizes, to the images and to the picture; see `bilinear`.
    """

    stride: int
    align_corners: bool = False

    def size(self, coarse: jax.Array, images: tuple[int, int]) -> tuple[int, int]:
        """See `Upsampler`."""
        return images

    def rows(
        self,
        coarse: jax.Array,
        size: tuple[int, int],
        start: jax.Array | int,
        count: int,
        sizes: jax.Array | None = None,
    ) -> jax.Array:
        """See `Upsampler`."""
        if sizes is None:
            return bilinear_rows(coarse, size, start, count, align_corners=self.align_corners)
        lengths = -(-sizes // self.stride)
        return bilinear_rows_of_each(
            coarse, lengths, sizes, start, count, size[1], align_corners=self.align_corners
        )

    def lines(self, length: int, target: int) -> Lines:
        """See `Upsampler`. Both resizes are one: each line is made of up to four lines of coarse logits."""
        coarse = -(-length // self.stride)
        low, high, weight = bilinear_taps(coarse, length, align_corners=self.align_corners)
        one = Lines(np.stack([low, high]), np.stack([1 - weight, weight]))
        two = resizing_lines(length, target, align_corners=self.align_corners)
        index = one.index[:, two.index].reshape(-1, target)
        return Lines(index, (one.weight[:, two.index] * two.weight).reshape(-1, target))

    def block(self, coarse: jax.Array, rows: Lines, columns: Lines, spans: tuple[int, int]) -> jax.Array:
        """See `Upsampler`."""
        return mix_transposed(coarse[0], rows, columns)


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
        self,
        coarse: FeatureMap,
        size: tuple[int, int],
        start: jax.Array | int,
        count: int,
        sizes: jax.Array | None = None,
    ) -> jax.Array:
        """See `Upsampler`. The extent of `coarse` says the sizes."""
        if count == size[0]:
            grid = coarse.grid.deconv(self.kernel.shape[0], self.stride)
            return FeatureMap(self._upsample(coarse.keep()), grid).cut(Grid(), size).values
        return self._window(coarse, (start, 0), (count, size[1]))

    def lines(self, length: int, target: int) -> Lines:
        """See `Upsampler`."""
        return resizing_lines(length, target)

    def block(self, coarse: FeatureMap, rows: Lines, columns: Lines, spans: tuple[int, int]) -> jax.Array:
        """See `Upsampler`."""
        starts = rows.index.min(), columns.index.min()
        (logits,) = self._window(coarse, starts, spans)
        rows, columns = (
            lines._replace(index=lines.index - start)
            for lines, start in zip((rows, columns), starts, strict=True)
        )
        return mix_transposed(logits, rows, columns)

    def _window(
        self, coarse: FeatureMap, starts: tuple[jax.Array | int, jax.Array | int], counts: tuple[int, int]
    ) -> jax.Array:
        """Computes a part of the logits from the coarse logits that it depends on."""
        kernel, stride = self.kernel.shape[0], self.stride
        offset = coarse.grid.deconv(kernel, stride).index_of(Grid())  # of the images in the upsampled map
        x = coarse.keep()
        skipped = []
        for axis, start, count in zip((1, 2), starts, counts, strict=True):
            needed = (count + kernel) // stride + 2  # coarse lines that these lines depend on, or a few more
            first = (start + offset - kernel + 1) // stride
            x = jnp.pad(
                x, [(needed, needed) if axis == each else (0, 0) for each in range(4)]
            )  # zeros add nothing
            x = jax.lax.dynamic_slice_in_dim(x, first + needed, needed, axis)
            skipped.append(start + offset - first * stride)
        x = self._upsample(x)
        for axis, start, count in zip((1, 2), skipped, counts, strict=True):
            x = jax.lax.dynamic_slice_in_dim(x, start, count, axis)
        return x

    def _upsample(self, x: jax.Array) -> jax.Array:
        dtype = jnp.result_type(x, self.kernel)
        return conv_transpose(x.astype(dtype), self.kernel.astype(dtype), stride=self.stride)


def _interpolation_matrix(in_size: int, out_size: int, align_corners: bool) -> np.ndarray:
    low, high, weight = bilinear_taps(in_size, out_size, align_corners=align_corners)
    matrix = np.zeros((out_size, in_size))
    rows = np.arange(out_size)
    matrix[rows, low] += 1 - weight
    matrix[rows, high] += weight
    return matrix
