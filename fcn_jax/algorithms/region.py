"""The first four blocks of VGG16, computed only where the picture decides.

The paper's networks put 100 rows and columns of zeros around a picture. Up to pool4, most of what they
compute there is the same for every picture. Beyond the region, the part that the picture decides, lies one
value for each channel, the constant. Along the ends of the map lies a frame, into which the zero padding of
the 3x3 convolutions reaches. So a block computes the region surrounded by the constant, and pool4 is laid
into the map of a black picture. At 375x500 this leaves 0.6 of the convolutions' work, at 224x224 half of it.

Rows, and columns likewise: a 3x3 convolution widens the region by one place on either side; a pooling halves
it, rounding outwards. The black picture's map depends on the weights and on the size modulo 16 alone, but for
the length of its constant middle, so a small black picture tells all of it.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.extent import Extent
from fcn_jax.models.grid import FeatureMap, Grid
from fcn_jax.models.pooling import max_pool
from fcn_jax.models.vgg import BLOCKS, BORDER, VGG16

FRAME = 4
"""Width of the frame at pool4, at most; above and to the left it is one less."""
STRIDE = 16
"""Of pool4."""
BLACK = "backbone.first_blocks.black"
"""Name of the variable of `take_black_maps` among the arrays of an FCN."""
SMALL = 2 * FRAME * STRIDE
"""Least length of the small black picture's map after conv1_1: both frames, a constant row between them."""


class Region(NamedTuple):
    """The region of a map, in a buffer.

    Attributes:
      values: (N, h, w, C).
      start: row and column of the map at which the buffer starts.
      low: first row and column of the region; the same for all pictures.
      high: (N, 2) int32 or (1, 2), one past the last row and column.
      most: the largest that `high` can be.
      constant: (C,), the values around the region.
    """

    values: jax.Array
    start: int
    low: int
    high: jax.Array
    most: tuple[int, int]
    constant: jax.Array

    def inside(self) -> jax.Array:
        """Tells which places of the buffer lie in the region: bool, (N, h, w, 1) or (1, h, w, 1)."""
        (rows, columns), shape = self.high.T[..., None, None, None], (1, *self.values.shape[1:3], 1)
        row, column = (self.start + jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (1, 2))
        return (row >= self.low) & (row < rows) & (column >= self.low) & (column < columns)

    def filled(self) -> jax.Array:
        """Returns the values, with the constant around the region."""
        return jnp.where(self.inside(), self.values, self.constant)

    def reframed(self, start: int, ends: tuple[int, int]) -> "Region":
        """Returns the same region in a buffer from `start` to `ends`, which may cut off what is not in it."""
        _, *lengths, _ = self.values.shape
        before = self.start - start
        after = [end - self.start - length for end, length in zip(ends, lengths, strict=True)]
        widths = [(0, 0, 0), (before, after[0], 0), (before, after[1], 0), (0, 0, 0)]
        zero = jnp.zeros((), self.values.dtype)
        return self._replace(values=jax.lax.pad(self.values, zero, widths), start=start)

    def conv(self, layer: nnx.Conv) -> "Region":
        """Applies a 3x3 convolution to the same size, and ReLU. The buffer must exceed the new region."""
        around = jnp.broadcast_to(self.constant, (1, 3, 3, len(self.constant)))
        return Region(
            jax.nn.relu(layer(self.filled())),
            self.start,
            self.low - 1,
            self.high + 1,
            (self.most[0] + 1, self.most[1] + 1),
            jax.nn.relu(layer(around))[0, 1, 1],
        )

    def pool(self) -> "Region":
        """Takes the maximum over windows of 2x2. The buffer must start at an even place."""
        return Region(
            max_pool(self.filled(), 2, 2),
            self.start // 2,
            self.low // 2,
            (self.high + 1) // 2,
            ((self.most[0] + 1) // 2, (self.most[1] + 1) // 2),
            self.constant,
        )


class BlackMaps(nnx.Variable):
    """The maps of black pictures, see `black_maps`, given from outside: (N, 9, 9, C) or (1, 9, 9, C)."""


class RegionBlocks(nnx.Module):
    """Computes the same maps as `fcn_jax.models.vgg.first_blocks`, up to rounding.

    "pool3" starts with the first row and column that an FCN reads.

    Attributes:
      black: the maps of black pictures; None to compute them at every call.
    """

    def __init__(self) -> None:
        self.black: BlackMaps | None = nnx.data(None)

    def __call__(self, vgg: VGG16, images: jax.Array, extent: Extent) -> dict[str, FeatureMap]:
        """Computes "pool3" and "pool4" of images (N, H, W, in_channels)."""
        _, height, width, channels = images.shape
        sizes = jnp.array([[height, width]], jnp.int32) if extent.sizes is None else extent.sizes
        low = BORDER - 1  # place of the first pixel: under the middle tap of conv1_1
        x = Region(
            images, low, low, low + sizes, (low + height, low + width), jnp.zeros(channels, images.dtype)
        )
        regions = {}
        for number, names in enumerate(BLOCKS[:4], 1):
            x = regions[f"pool{number}"] = _block(vgg, x, names)
        whole = Extent(sizes).conv(3, padding=BORDER)  # the map after conv1_1
        ends = {stride: (_over(height, stride), _over(width, stride)) for stride in (8, STRIDE)}
        pool3 = regions["pool3"].reframed(regions["pool3"].start, ends[8])
        pool4 = regions["pool4"].reframed(0, ends[STRIDE])
        exact = extent.sizes is None
        return {
            "pool3": _feature_map(pool3.filled(), 8, pool3.start, whole, exact),
            "pool4": _feature_map(_framed(vgg, pool4, whole, self.black), STRIDE, 0, whole, exact),
        }


def use_region(vgg: VGG16) -> None:
    """Makes VGG16 compute its first blocks only where the picture decides, in place."""
    _layer(vgg, "conv1_1").padding = ((1, 1), (1, 1))  # the rest of its border is the region's business
    vgg.first_blocks = nnx.data(RegionBlocks())


def take_black_maps(vgg: VGG16) -> None:
    """Lets a VGG16 that computes its region take the maps of black pictures from the variable `BLACK`."""
    channels = _layer(vgg, BLOCKS[3][-1]).out_features
    side = -(-(SMALL + STRIDE - 1) // STRIDE)
    blocks = RegionBlocks()
    blocks.black = BlackMaps(jnp.zeros((1, side, side, channels), jnp.float32))
    vgg.first_blocks = nnx.data(blocks)


def black_maps(vgg: VGG16, sizes: jax.Array) -> jax.Array:
    """Computes pool4 of small black pictures, (N, 9, 9, C), that tells the frames of pictures of these sizes.

    It depends on the weights and on `remainders(sizes)` only.
    """
    return _black_map(vgg, Extent(SMALL + remainders(sizes)))


def remainders(sizes: Any) -> Any:
    """Returns the lengths of maps after conv1_1 modulo the stride of pool4; of NumPy or JAX arrays."""
    return (sizes + (2 * BORDER - 2)) % STRIDE


def _over(length: int, stride: int) -> int:
    """Returns the length of the map of a picture at a stride."""
    return -(-(length + 2 * BORDER - 2) // stride)


def _feature_map(values: jax.Array, stride: int, start: int, whole: Extent, exact: bool) -> FeatureMap:
    """Says where the pixels of a map lie that starts at place `start` of the published one."""
    offset = Fraction(stride - 1, 2) + 1 - BORDER + stride * start
    sizes = whole.over(stride).sizes
    extent = Extent() if exact or sizes is None else Extent(sizes - start)
    return FeatureMap(values, Grid(Fraction(stride), offset), extent)


def _layer(vgg: VGG16, name: str) -> nnx.Conv:
    return getattr(vgg, name)


def _block(vgg: VGG16, x: Region, names: tuple[str, ...]) -> Region:
    """Applies the named convolutions and halves the size, in a buffer that exceeds the region by one."""
    wider = len(names) + 1
    start = (x.low - wider) // 2 * 2
    x = x.reframed(start, (x.most[0] + wider, x.most[1] + wider))
    for name in names:
        x = x.conv(_layer(vgg, name))
    return x.pool()


def _framed(vgg: VGG16, region: Region, whole: Extent, given: BlackMaps | None) -> jax.Array:
    """Lays the region of pool4 into the map of a black picture of the same size, frame and all."""
    assert whole.sizes is not None, "it has sizes"
    small = Extent(SMALL + whole.sizes % STRIDE)
    black = _black_map(vgg, small) if given is None else given[...].astype(region.values.dtype)
    lengths, small_lengths = whole.over(STRIDE).sizes, small.over(STRIDE).sizes
    assert lengths is not None, "it has sizes"
    assert small_lengths is not None, "it has sizes"

    def stretched(x: jax.Array, axis: int) -> jax.Array:
        """Repeats the constant middle of each black map until it has the length of the whole map."""
        place = jnp.arange(region.values.shape[axis])[None]
        from_end = lengths[:, axis - 1, None] - place
        shifted = small_lengths[:, axis - 1, None] - from_end
        index = jnp.where(from_end <= FRAME, shifted, jnp.minimum(place, FRAME - 1))
        return jax.vmap(lambda x, index: jnp.take(x, index, axis - 1, mode="clip"))(x, index)

    return jnp.where(region.inside(), region.values, stretched(stretched(black, 1), 2))


def _black_map(vgg: VGG16, extent: Extent) -> jax.Array:
    """Computes pool4 of black pictures whose maps after conv1_1 have this extent."""
    side, first, second = SMALL + STRIDE - 1, _layer(vgg, "conv1_1"), _layer(vgg, "conv1_2")
    zeros = jnp.zeros((1, 3, 3, first.in_features), first.kernel.dtype)
    constant = jax.nn.relu(first(zeros))[0, 1, 1]
    assert extent.sizes is not None, "it has sizes"
    values = jnp.broadcast_to(constant, (extent.sizes.shape[0], side, side, len(constant)))
    x = FeatureMap(values, extent=extent).conv(second).apply(jax.nn.relu).max_pool(2, 2)
    for names in BLOCKS[1:4]:
        x = vgg.block(x, names)
    return x.values
