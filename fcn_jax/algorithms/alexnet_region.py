"""AlexNet up to conv3, computed only where the picture decides.

There is no frame before conv2. That of conv3 ends where the picture's own region begins; conv4 sees both. At
375x500 this leaves 0.6 of these three convolutions' work, at 224x224 0.45: of the whole network it spares a
tenth and a sixth.
"""

from typing import Any

import jax
from flax import nnx

from fcn_jax.algorithms.black import RegionBlocks
from fcn_jax.algorithms.region import Map, Region
from fcn_jax.models.alexnet import AlexNet
from fcn_jax.models.extent import Extent
from fcn_jax.models.grid import FeatureMap
from fcn_jax.models.pooling import local_response_norm
from fcn_jax.models.vgg import BORDER


class AlexNetRegion(RegionBlocks):
    """Computes the same map as `fcn_jax.models.alexnet.first_blocks`, up to rounding."""

    first = "conv1"
    frame = 3
    stride = 2

    def __call__(self, backbone: AlexNet, images: jax.Array, extent: Extent) -> FeatureMap:
        """Computes the map of conv3 of images (N, H, W, in_channels)."""
        frameless = self.frameless(backbone, images, extent)
        x = _block(frameless.widened(4, 2), backbone.conv2)
        x = x.widened(2, 1).conv(backbone.conv3).apply(jax.nn.relu)
        return self.laid(backbone, x, frameless, extent)

    def lengths(self, sizes: Any) -> Any:
        """Returns the lengths of the normalized maps of conv1."""
        return Extent(sizes).conv(11, 4, BORDER).pool(3, 2).sizes

    def frameless(self, backbone: AlexNet, images: jax.Array, extent: Extent) -> Region:
        """Computes the region of conv1, pooled and normalized."""
        return _block(Region.of(images, extent, BORDER).widened(10 + 2 * 4, 8), backbone.conv1)

    def framed(self, backbone: AlexNet, x: FeatureMap) -> FeatureMap:
        """Computes conv3 from the normalized maps of conv1."""
        return _block(x, backbone.conv2).conv(backbone.conv3).apply(jax.nn.relu)


def _block(x: Map, layer: nnx.Conv) -> Map:
    return x.conv(layer).apply(jax.nn.relu).max_pool(3, 2).apply(local_response_norm)
