"""VGG16 up to pool4, computed only where the picture decides.

At 375x500 this leaves 0.6 of these convolutions' work, at 224x224 half of it. Beyond pool4 everything depends
on the picture.
"""

from typing import Any

import jax

from fcn_jax.algorithms.black import RegionBlocks
from fcn_jax.algorithms.region import Map, Region
from fcn_jax.models.extent import Extent
from fcn_jax.models.grid import FeatureMap
from fcn_jax.models.vgg import BLOCKS, BORDER, VGG16


class VGGRegion(RegionBlocks):
    """Computes the same maps as `fcn_jax.models.vgg.first_blocks`, up to rounding.

    "pool3" starts with the first row and column that an FCN reads.
    """

    first = "conv1_1"
    frame = 4
    stride = 16

    def __call__(self, backbone: VGG16, images: jax.Array, extent: Extent) -> dict[str, FeatureMap]:
        """Computes "pool3" and "pool4" of images (N, H, W, in_channels)."""
        frameless = self.frameless(backbone, images, extent)
        regions = [_block(backbone, frameless, BLOCKS[0][1:])]
        for names in BLOCKS[1:4]:
            regions.append(_block(backbone, regions[-1].widened(len(names) + 1, 2), names))
        _, _, pool3, pool4 = regions
        pool3 = pool3.reframed(pool3.start, pool3.most.length[0])
        return {
            "pool3": pool3.placed(pool3.filled(), extent),
            "pool4": self.laid(backbone, pool4, frameless, extent),
        }

    def lengths(self, sizes: Any) -> Any:
        """Returns the lengths of the maps of conv1_1."""
        return Extent(sizes).conv(3, padding=BORDER).sizes

    def frameless(self, backbone: VGG16, images: jax.Array, extent: Extent) -> Region:
        """Computes the region of conv1_1, in a buffer for the first block."""
        return _convolve(backbone, Region.of(images, extent, BORDER).widened(4, 2), "conv1_1")

    def framed(self, backbone: VGG16, x: FeatureMap) -> FeatureMap:
        """Computes pool4 from conv1_1."""
        for names in (BLOCKS[0][1:], *BLOCKS[1:4]):
            x = _block(backbone, x, names)
        return x


def _convolve(vgg: VGG16, x: Map, name: str) -> Map:
    return x.conv(getattr(vgg, name)).apply(jax.nn.relu)


def _block(vgg: VGG16, x: Map, names: tuple[str, ...]) -> Map:
    for name in names:
        x = _convolve(vgg, x, name)
    return x.max_pool(2, 2, vgg.pool)
