"""The first blocks of the paper's networks, computed only where the picture decides.

The paper's networks put 100 rows and columns of zeros around a picture. In the first blocks, most of what
they compute there is the same for every picture. Beyond the region, the part that the picture decides, lies
one value for each channel, the constant. Along the ends of the map lies a frame, into which the zero padding
of convolutions reaches. So a block computes the region surrounded by the constant, and the last map is laid
into the map of a black picture, see `black`.

Rows, and columns likewise: a convolution to the same size widens the region by the padding on either side; a
stride of 2 halves it, rounding outwards. `vgg_region` and `alexnet_region` say which layers there are.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.models.extent import Extent
from fcn_jax.models.grid import FeatureMap, Grid
from fcn_jax.models.layers import geometry
from fcn_jax.models.pooling import Pool, max_pool


class Span(NamedTuple):
    """Where the region lies in the whole map, which begins at 0.

    Attributes:
      low: first row and column; the same for all pictures.
      high: (N, 2) or (1, 2) int32, one past the last row and column.
      length: (N, 2) or (1, 2) int32, rows and columns of the whole map.
    """

    low: int
    high: Any
    length: Any

    def conv(self, kernel: int, stride: int, padding: int) -> "Span":
        """Returns the span after a convolution."""
        whole = Extent(self.length).conv(kernel, stride, padding).sizes
        low = -((kernel - 1 - padding - self.low) // stride)
        return Span(low, (self.high - 1 + padding) // stride + 1, whole)

    def pool(self, window: int, stride: int) -> "Span":
        """Returns the span after a pooling whose sizes are rounded up."""
        return self.conv(window, stride, 0)._replace(length=Extent(self.length).pool(window, stride).sizes)


class Region(NamedTuple):
    """The region of a map, in a buffer.

    Attributes:
      values: (N, h, w, C).
      start: row and column of the whole map at which the buffer starts.
      span: where the region lies.
      most: the span of a picture that fills its buffer, as NumPy arrays.
      constant: (C,), the values around the region.
      grid: of the whole map.
    """

    values: jax.Array
    start: int
    span: Span
    most: Span
    constant: jax.Array
    grid: Grid

    @classmethod
    def of(cls, images: jax.Array, extent: Extent, border: int) -> "Region":
        """Returns the pictures (N, H, W, C) of an extent with a border of zeros on every side."""
        _, *size, channels = images.shape

        def span(sizes: Any) -> Span:
            return Span(border, border + sizes, sizes + 2 * border)

        most = span(np.array([size], np.int32))
        zeros = jnp.zeros(channels, images.dtype)
        grid = Grid(offset=Fraction(-border))
        return cls(images, border, most if extent.sizes is None else span(extent.sizes), most, zeros, grid)

    def inside(self) -> jax.Array:
        """Tells which places of the buffer lie in the region: bool, (N, h, w, 1) or (1, h, w, 1)."""
        (rows, columns), shape = self.span.high.T[..., None, None, None], (1, *self.values.shape[1:3], 1)
        row, column = (self.start + jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (1, 2))
        low = self.span.low
        return (row >= low) & (row < rows) & (column >= low) & (column < columns)

    def filled(self) -> jax.Array:
        """Returns the values, with the constant around the region."""
        return jnp.where(self.inside(), self.values, self.constant)

    def reframed(self, start: int, ends: Any) -> "Region":
        """Returns the same region in a buffer from `start` to `ends`, which may cut off what is not in it."""
        _, *lengths, _ = self.values.shape
        after = [int(end) - self.start - length for end, length in zip(ends, lengths, strict=True)]
        widths = [(0, 0, 0), *((self.start - start, each, 0) for each in after), (0, 0, 0)]
        zero = jnp.zeros((), self.values.dtype)
        return self._replace(values=jax.lax.pad(self.values, zero, widths), start=start)

    def widened(self, width: int, multiple: int) -> "Region":
        """Returns the same region in a buffer that exceeds it by `width`, and starts at a multiple."""
        return self.reframed((self.span.low - width) // multiple * multiple, self.most.high[0] + width)

    def conv(self, layer: nnx.Conv) -> "Region":
        """Convolves by a layer made by `layers.conv`, either unpadded or of stride 1 and to the same size.

        Raises:
          ValueError: the buffer does not hold all that the new region depends on.
        """
        kernel, stride, padding, _ = geometry(layer)
        spans = (span.conv(kernel, stride, padding) for span in (self.span, self.most))
        return self._moved(layer, kernel, stride, padding, *spans)

    def max_pool(self, window: int, stride: int, pool: Pool = max_pool) -> "Region":
        """Takes the maximum over windows.

        Raises:
          ValueError: the buffer does not hold all that the new region depends on.
        """
        spans = (span.pool(window, stride) for span in (self.span, self.most))
        return self._moved(lambda x: pool(x, window, stride), window, stride, 0, *spans)

    def apply(self, function: Callable[[jax.Array], jax.Array]) -> "Region":
        """Applies a function that leaves every pixel where it is."""
        constant = function(self.constant[None, None, None])[0, 0, 0]
        return self._replace(values=function(self.values), constant=constant)

    def _moved(
        self,
        function: Callable[[jax.Array], jax.Array],
        kernel: int,
        stride: int,
        padding: int,
        span: Span,
        most: Span,
    ) -> "Region":
        first, last = stride * span.low - padding, stride * (most.high[0] - 1) - padding + kernel
        ends = self.start + np.array(self.values.shape[1:3])
        if self.start % stride or first < self.start or (last > ends).any():
            raise ValueError(
                f"expected a buffer from {first} or less, at a multiple of {stride}, to {last}, got "
                f"{self.start} to {ends}"
            )
        around = jnp.broadcast_to(self.constant, (1, kernel, kernel, len(self.constant)))
        constant = function(around)[0, padding, padding]
        grid = self.grid.conv(kernel, stride, padding)
        return Region(function(self.filled()), self.start // stride, span, most, constant, grid)

    def placed(self, values: jax.Array, extent: Extent) -> FeatureMap:
        """Returns the values of the buffer as a map.

        Args:
          values: (N, h, w, C), with something around the region.
          extent: of the pictures; without sizes the map has none either.
        """
        grid = Grid(self.grid.stride, self.grid.offset + self.grid.stride * self.start)
        sizes = None if extent.sizes is None else self.span.length - self.start
        return FeatureMap(values, grid, Extent(sizes))


Map = TypeVar("Map", FeatureMap, Region)
"""A whole map or its region: both go through the same layers."""
