"""Where a feature map lies over the image, so that crops are computed rather than written down.

Index t of a map is centred on the image coordinate stride * t + offset, the same along both axes. A
convolution or pooling with kernel k and padding p puts its index t at stride * t + (k - 1) / 2 - p of its
input; a transposed convolution puts its index u at (u - (k - 1) / 2) / stride. Composed from the image up
these give every map's grid, and two maps of one stride differ by a constant: the offset of the crop that lays
one on the other. The published 19 / 5, 27 / 5, 9, 31 / 18 come out of it.

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
from fcn_jax.models.layers import geometry
from fcn_jax.models.pooling import max_pool


@jax.tree_util.register_static
@dataclass(frozen=True)
class Grid:
    """The image coordinate of a map's index t, stride * t + offset, exactly; by default the image's own."""

    stride: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def conv(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Grid":
        """Gives the grid after a convolution or pooling."""
        centre = Fraction(dilation * (kernel - 1), 2) - padding
        return Grid(self.stride * stride, self.offset + self.stride * centre)

    def deconv(self, kernel: int, stride: int = 1) -> "Grid":
        """Gives the grid after a transposed convolution, unpadded."""
        finer = self.stride / stride
        return Grid(finer, self.offset - finer * Fraction(kernel - 1, 2))

    def index_of(self, other: "Grid") -> int:
        """Finds the index here that lies where the other grid has its index 0: the offset of a crop.

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
    """A map (N, h, w, C) together with its grid. Under jit the grid is static."""

    values: jax.Array
    grid: Grid = Grid()

    def apply(self, function: Callable[[jax.Array], jax.Array]) -> "FeatureMap":
        """Maps the values by a function that moves nothing."""
        return FeatureMap(function(self.values), self.grid)

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
        return FeatureMap(self.values + other.values, self.grid)

    def conv(self, layer: nnx.Conv) -> "FeatureMap":
        """Convolves by a layer made by `layers.conv`."""
        return FeatureMap(layer(self.values), self.grid.conv(*geometry(layer)))

    def deconv(self, layer: Deconvolution) -> "FeatureMap":
        """Upsamples by a transposed convolution."""
        return FeatureMap(layer(self.values), self.grid.deconv(layer.kernel.shape[0], layer.stride))

    def max_pool(self, window: int, stride: int) -> "FeatureMap":
        """Pools by the maximum, sizes rounded up."""
        return FeatureMap(max_pool(self.values, window, stride), self.grid.conv(window, stride))

    def crop_to(self, other: "FeatureMap") -> "FeatureMap":
        """Cuts out the part that lies on another map: from the computed offset, to the size of the other.

        Raises:
          ValueError: the grids do not meet, or the other map reaches outside.
        """
        return self.cut(other.grid, image_size(other.values))

    def cut(self, grid: Grid, size: tuple[int, int]) -> "FeatureMap":
        """Cuts out a part of this size, from where another grid has its index 0.

        Raises:
          ValueError: the grids do not meet, or the part reaches outside.
        """
        return FeatureMap(crop(self.values, self.grid.index_of(grid), size), grid)


def crop(x: jax.Array, offset: int, size: tuple[int, int]) -> jax.Array:
    """Keeps rows offset .. offset + H - 1, and columns alike: not a centre crop.

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
