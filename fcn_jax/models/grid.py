"""Which image coordinate each index of a feature map lies on. All crops are computed from this.

Index t of a map is centred on the image coordinate stride * t + offset, the same along both axes. Index t of
a convolution or pooling with kernel k and padding p lies at stride * t + (k - 1) / 2 - p of its input; index
u of a transposed convolution lies at (u - (k - 1) / 2) / stride. Composing these from the image upwards
gives every map's grid. Two maps of the same stride differ by a constant, the offset of the crop that aligns
them. The published offsets 19 / 5, 27 / 5, 9 and 31 / 18 follow.

Source: the coordinate maps of the authors' `caffe.coord_map`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import jax
from flax import nnx

from fcn_jax.models.checks import image_size
from fcn_jax.models.deconvolution import Deconvolution
from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.layers import geometry
from fcn_jax.models.pooling import Pool, max_pool


@jax.tree_util.register_static
@dataclass(frozen=True)
class Grid:
    """Index t of a map lies on image coordinate stride * t + offset, exactly. Default: the image."""

    stride: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def conv(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Grid":
        """Returns the grid after a convolution or pooling."""
        centre = Fraction(dilation * (kernel - 1), 2) - padding
        return Grid(self.stride * stride, self.offset + self.stride * centre)

    def deconv(self, kernel: int, stride: int = 1) -> "Grid":
        """Returns the grid after an unpadded transposed convolution."""
        finer = self.stride / stride
        return Grid(finer, self.offset - finer * Fraction(kernel - 1, 2))

    def index_of(self, other: "Grid") -> int:
        """Returns the index of this grid at which the other grid has index 0: the offset of a crop.

        Raises:
          ValueError: the strides differ, or the grids lie a fraction of a step apart.
        """
        if self.stride != other.stride:
            raise ValueError(f"expected grids of one stride, got {self.stride} and {other.stride}")
        steps = (other.offset - self.offset) / self.stride
        if steps.denominator != 1:
            raise ValueError(f"expected grids whole steps apart, got {steps}: {self} and {other}")
        return int(steps)


class FeatureMap(NamedTuple):
    """A map (N, h, w, C) with its grid, and the part of it that belongs to each image.

    Under jit the grid is static, and the extent is data.
    """

    values: jax.Array
    grid: Grid = Grid()
    extent: Extent = EVERYTHING

    def keep(self) -> jax.Array:
        """Returns the values, with zeros outside the extent."""
        return self.extent.keep(self.values)

    def apply(self, function: Callable[[jax.Array], jax.Array]) -> "FeatureMap":
        """Applies a function that leaves every pixel where it is."""
        return FeatureMap(function(self.values), self.grid, self.extent)

    def add(self, other: "FeatureMap") -> "FeatureMap":
        """Adds a map on the same grid.

        Raises:
          ValueError: the grids or the shapes differ.
        """
        if self.grid != other.grid or self.values.shape != other.values.shape:
            raise ValueError(
                f"expected maps of one grid and shape, got {self.grid}, {self.values.shape} and "
                f"{other.grid}, {other.values.shape}"
            )
        return FeatureMap(self.values + other.values, self.grid, self.extent)

    def conv(self, layer: nnx.Conv) -> "FeatureMap":
        """Convolves by a layer made by `layers.conv`."""
        kernel, stride, padding, dilation = geometry(layer)
        values = layer(self.keep() if padding else self.values)
        shape = kernel, stride, padding, dilation
        return FeatureMap(values, self.grid.conv(*shape), self.extent.conv(*shape))

    def deconv(self, layer: Deconvolution) -> "FeatureMap":
        """Upsamples by a transposed convolution."""
        shape = layer.kernel.shape[0], layer.stride
        return FeatureMap(layer(self.keep()), self.grid.deconv(*shape), self.extent.deconv(*shape))

    def max_pool(self, window: int, stride: int, pool: Pool = max_pool) -> "FeatureMap":
        """Takes the maximum over windows of values of at least 0; sizes are rounded up."""
        values = pool(self.keep(), window, stride)
        return FeatureMap(values, self.grid.conv(window, stride), self.extent.pool(window, stride))

    def crop_to(self, other: "FeatureMap") -> "FeatureMap":
        """Cuts out the part that lies under another map.

        Raises:
          ValueError: the grids do not align, or the other map reaches outside.
        """
        return self.cut(other.grid, image_size(other.values), other.extent)

    def cut(self, grid: Grid, size: tuple[int, int], extent: Extent = EVERYTHING) -> "FeatureMap":
        """Cuts out a part of size (H, W), of which `extent` counts, from index 0 of another grid on.

        Raises:
          ValueError: the grids do not align, or the part reaches outside.
        """
        return FeatureMap(crop(self.values, self.grid.index_of(grid), size), grid, extent)


def crop(x: jax.Array, offset: int, size: tuple[int, int]) -> jax.Array:
    """Keeps rows offset .. offset + H - 1, and columns offset .. offset + W - 1; not a centre crop.

    Args:
      x: (N, h, w, C).
      offset: the first row and the first column kept.
      size: (H, W).

    Raises:
      ValueError: the crop reaches outside.
    """
    if offset < 0 or any(offset + part > whole for part, whole in zip(size, x.shape[1:3], strict=True)):
        raise ValueError(f"expected a crop inside a map of {x.shape[1:3]}, got {tuple(size)} from {offset}")
    return x[:, offset : offset + size[0], offset : offset + size[1]]
