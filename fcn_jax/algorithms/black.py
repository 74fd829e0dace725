"""The maps of black pictures, into which regions are laid.

The map of a black picture depends on the weights, and on the length of the map modulo a stride; further rows
and columns only lengthen its constant middle. So a small black picture tells all of it.
"""

import abc
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.algorithms.region import Region
from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.grid import FeatureMap

BLACK = "backbone.first_blocks.black"
"""Name of the variable of `RegionBlocks.take_black_maps` among the arrays of an FCN."""


class BlackMaps(nnx.Variable):
    """The maps of black pictures, see `RegionBlocks.black_maps`, given from outside."""


class RegionBlocks(nnx.Module):
    """Computes the first blocks of a backbone where the picture decides, and lays them into a black map.

    The first layers pad only the border, so there is no frame. From there on black maps are computed.

    Attributes:
      first: name of the convolution that pads the border.
      frame: width of the frame of the last map, at most; above and to the left it is at least one less.
      stride: of the last map, in places of the map without a frame.
      black: the maps of black pictures; None to compute them at every call.
    """

    first: ClassVar[str]
    frame: ClassVar[int]
    stride: ClassVar[int]

    def __init__(self) -> None:
        self.black: BlackMaps | None = nnx.data(None)

    @abc.abstractmethod
    def lengths(self, sizes: Any) -> Any:
        """Returns the lengths (N, 2) of the maps without a frame, of NumPy or JAX arrays of sizes (N, 2)."""

    @abc.abstractmethod
    def frameless(self, backbone: Any, images: jax.Array, extent: Extent) -> Region:
        """Computes the region of the map without a frame."""

    @abc.abstractmethod
    def framed(self, backbone: Any, x: FeatureMap) -> FeatureMap:
        """Computes the whole last map, frame and all, from the whole map without a frame."""

    def replace(self, backbone: Any) -> None:
        """Makes a backbone compute its first blocks in this way, in place."""
        getattr(backbone, self.first).padding = ((0, 0), (0, 0))  # the border is the region's business
        backbone.first_blocks = nnx.data(self)

    def remainders(self, sizes: Any) -> Any:
        """Returns what frames of pictures of sizes (N, 2) depend on besides the weights, (N, 2)."""
        return self.lengths(sizes) % self.stride

    def black_maps(self, backbone: Any, sizes: Any) -> jax.Array:
        """Computes the last maps (N, h, w, C) of small black pictures: the frames of pictures of some sizes.

        They hold both frames and a constant row between, at least. They depend on the weights and on
        `remainders(sizes)` only.
        """
        pixel = jnp.zeros((1, 1, 1, getattr(backbone, self.first).in_features))
        constant = self.frameless(backbone, pixel, EVERYTHING).constant
        return self._black_maps(backbone, constant, self.remainders(sizes))

    def take_black_maps(self, backbone: Any) -> None:
        """Lets the maps of black pictures be given from outside, as the variable `BLACK`."""
        shape = jax.eval_shape(lambda: self.black_maps(backbone, np.ones((1, 2), np.int32))).shape
        self.black = BlackMaps(jnp.zeros(shape, jnp.float32))

    def laid(self, backbone: Any, region: Region, frameless: Region, extent: Extent) -> FeatureMap:
        """Lays the region of the last map into the map of a black picture of the same size.

        Args:
          backbone: whose blocks these are.
          region: of the last map.
          frameless: the region of the map without a frame.
          extent: of the pictures.
        """
        region, lengths = region.reframed(0, region.most.length[0]), frameless.span.length
        if self.black is None:
            black = self._black_maps(backbone, frameless.constant, lengths % self.stride)
        else:
            black = self.black[...].astype(region.values.dtype)
        extra = lengths // self.stride - 2 * self.frame  # places that the small maps lack

        def stretched(x: jax.Array, axis: int) -> jax.Array:
            """Repeats the constant middle of each black map until it has the length of the whole map."""
            place = jnp.arange(region.values.shape[axis])[None]
            end = region.span.length[:, axis - 1, None] - self.frame
            shifted = place - extra[:, axis - 1, None]
            index = jnp.where(place >= end, shifted, jnp.minimum(place, self.frame - 1))
            return jax.vmap(lambda x, index: jnp.take(x, index, axis - 1, mode="clip"))(x, index)

        values = jnp.where(region.inside(), region.values, stretched(stretched(black, 1), 2))
        return region.placed(values, extent)

    def _black_maps(self, backbone: Any, constant: jax.Array, remainders: Any) -> jax.Array:
        least = 2 * self.frame * self.stride  # both frames, and a constant place between
        side = least + self.stride - 1
        values = jnp.broadcast_to(constant, (remainders.shape[0], side, side, len(constant)))
        return self.framed(backbone, FeatureMap(values, extent=Extent(least + remainders))).values
