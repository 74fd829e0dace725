"""AlexNet, the backbone of the paper's first network. As in CaffeNet, pooling comes before normalization.

Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks"
(2012), made convolutional as in the authors' `voc-fcn-alexnet/net.py`. torchvision's `alexnet` is another
network.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from fcn_jax.errors import SettingError
from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.grid import FeatureMap
from fcn_jax.models.layers import conv
from fcn_jax.models.pooling import local_response_norm
from fcn_jax.models.vgg import BORDER, FC_NORMAL, ZEROS


class AlexNet(nnx.Module):
    """Five convolutions, three of them in two groups, then fc6 and fc7 with dropout 0.5; stride 32.

    Random weights follow the same distributions as in `VGG16`.

    Args:
      features: output channels of the five convolutions, all even.
      fc_features: output channels of fc6 and fc7.
      in_channels: channels of the images.
      settings: `rngs`, `dtype` (of the computation) and `param_dtype` of every layer.

    Attributes:
      first_blocks: computes the map of conv3; inference has a faster way.

    Raises:
      SettingError: there are not five widths, or one is odd and cannot be split into two groups.
    """

    def __init__(
        self,
        features: tuple[int, ...] = (96, 256, 384, 384, 256),
        fc_features: int = 4096,
        in_channels: int = 3,
        **settings: Any,
    ):
        if len(features) != 5 or any(width % 2 for width in features):
            raise SettingError(subject="features", expected="five even widths", got=str(tuple(features)))
        self.first_blocks: Callable[[AlexNet, jax.Array, Extent], FeatureMap] = first_blocks
        one, two, three, four, five = features
        settings = {"bias_init": ZEROS, **settings}
        self.conv1 = conv(in_channels, one, 11, stride=4, padding=BORDER, **settings)
        self.conv2 = conv(one, two, 5, padding=2, groups=2, **settings)
        self.conv3 = conv(two, three, 3, padding=1, **settings)
        self.conv4 = conv(three, four, 3, padding=1, groups=2, **settings)
        self.conv5 = conv(four, five, 3, padding=1, groups=2, **settings)
        self.fc6 = conv(five, fc_features, 6, kernel_init=FC_NORMAL, **settings)
        self.fc7 = conv(fc_features, fc_features, 1, kernel_init=FC_NORMAL, **settings)
        self.dropout = nnx.Dropout(0.5, rngs=settings["rngs"])

    def channels(self, name: str) -> int:
        """Returns the number of channels of a named map."""
        return getattr(self, name).out_features

    def __call__(self, images: jax.Array, extent: Extent = EVERYTHING) -> dict[str, FeatureMap]:
        """Maps (N, H, W, in_channels) to "fc7" (N, ceil((H + 2) / 32), ceil((W + 2) / 32), 4096)."""
        x = self.first_blocks(self, images, extent)
        x = x.conv(self.conv4).apply(jax.nn.relu)
        x = x.conv(self.conv5).apply(jax.nn.relu).max_pool(3, 2)
        x = x.conv(self.fc6).apply(jax.nn.relu).apply(self.dropout)
        x = x.conv(self.fc7).apply(jax.nn.relu).apply(self.dropout)
        return {"fc7": x}


def first_blocks(alexnet: AlexNet, images: jax.Array, extent: Extent) -> FeatureMap:
    """Computes the map of conv3 of images (N, H, W, in_channels)."""
    x = FeatureMap(images, extent=extent)
    x = x.conv(alexnet.conv1).apply(jax.nn.relu).max_pool(3, 2).apply(local_response_norm)
    x = x.conv(alexnet.conv2).apply(jax.nn.relu).max_pool(3, 2).apply(local_response_norm)
    return x.conv(alexnet.conv3).apply(jax.nn.relu)
