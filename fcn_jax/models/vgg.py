"""VGG16, the backbone of the paper's networks: 3x3 convolutions, then fc6 and fc7 as convolutions; stride 32.

Source: Simonyan and Zisserman, "Very deep convolutional networks" (2015), made convolutional as in the
authors' `voc-fcn32s/net.py`: the first convolution pads by 100, so that fc6 (7x7, unpadded) fits into any
image, and the pools round sizes up.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from fcn_jax.errors import SettingError
from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.grid import FeatureMap
from fcn_jax.models.layers import conv
from fcn_jax.models.pooling import Pool, max_pool

BLOCKS = (
    ("conv1_1", "conv1_2"),
    ("conv2_1", "conv2_2"),
    ("conv3_1", "conv3_2", "conv3_3"),
    ("conv4_1", "conv4_2", "conv4_3"),
    ("conv5_1", "conv5_2", "conv5_3"),
)
BORDER = 100  # rows and columns of zeros on every side of the image

ZEROS = jax.nn.initializers.zeros
FC_NORMAL = jax.nn.initializers.normal(0.01)


class VGG16(nnx.Module):
    """Five blocks of convolutions, each pooled to half the size, then fc6 and fc7 with dropout 0.5.

    Random weights follow torchvision's `vgg16`: kaiming normal by fan-out; fc6 and fc7 normal with standard
    deviation 0.01; biases zero.

    Args:
      features: output channels of the five blocks.
      fc_features: output channels of fc6 and fc7.
      in_channels: channels of the images.
      settings: `rngs`, `dtype` (of the computation) and `param_dtype` of every layer.

    Attributes:
      first_blocks: computes the maps of the first four blocks; there is a faster way.
      pool: ends a block; training on a CPU has a way with a faster gradient.
      remat: in training, store only the outputs of blocks and recompute the rest in the backward pass.

    Raises:
      SettingError: there are not five widths.
    """

    remat: bool = False

    def __init__(
        self,
        features: tuple[int, ...] = (64, 128, 256, 512, 512),
        fc_features: int = 4096,
        in_channels: int = 3,
        **settings: Any,
    ):
        if len(features) != len(BLOCKS):
            raise SettingError(
                subject="features", expected=f"the widths of {len(BLOCKS)} blocks", got=str(tuple(features))
            )
        self.first_blocks: Callable[[VGG16, jax.Array, Extent], dict[str, FeatureMap]] = first_blocks
        self.pool: Pool = max_pool
        channels = in_channels
        for names, width in zip(BLOCKS, features, strict=True):
            for name in names:
                padding = BORDER if name == "conv1_1" else 1
                setattr(self, name, conv(channels, width, 3, padding=padding, bias_init=ZEROS, **settings))
                channels = width
        fc = {"kernel_init": FC_NORMAL, "bias_init": ZEROS, **settings}
        self.fc6 = conv(channels, fc_features, 7, **fc)
        self.fc7 = conv(fc_features, fc_features, 1, **fc)
        self.dropout = nnx.Dropout(0.5, rngs=settings["rngs"])

    def channels(self, name: str) -> int:
        """Returns the number of channels of a named map."""
        last = {f"pool{number}": names[-1] for number, names in enumerate(BLOCKS, 1)}
        return getattr(self, last.get(name, name)).out_features

    def run_block(self, x: FeatureMap, names: tuple[str, ...]) -> FeatureMap:
        """Applies `block`, in training as `remat` says."""
        run = nnx.remat(VGG16.block, static_argnums=2) if self.remat else VGG16.block
        return run(self, x, names)

    def block(self, x: FeatureMap, names: tuple[str, ...]) -> FeatureMap:
        """Applies the named convolutions, each with ReLU, and halves the size."""
        for name in names:
            x = x.conv(getattr(self, name)).apply(jax.nn.relu)
        return x.max_pool(2, 2, self.pool)

    def __call__(self, images: jax.Array, extent: Extent = EVERYTHING) -> dict[str, FeatureMap]:
        """Maps (N, H, W, in_channels) to "pool3" (N, ceil((H + 198) / 8), ..., 256), "pool4" and "fc7".

        "pool4" is (N, ceil((H + 198) / 16), ..., 512), "fc7" (N, ceil((H + 6) / 32), ..., 4096).
        """
        maps = self.first_blocks(self, images, extent)
        x = self.run_block(maps["pool4"], BLOCKS[4])
        x = x.conv(self.fc6).apply(jax.nn.relu).apply(self.dropout)
        x = x.conv(self.fc7).apply(jax.nn.relu).apply(self.dropout)
        return {"pool3": maps["pool3"], "pool4": maps["pool4"], "fc7": x}


def first_blocks(vgg: VGG16, images: jax.Array, extent: Extent) -> dict[str, FeatureMap]:
    """Computes "pool3" and "pool4" of images (N, H, W, in_channels)."""
    x, maps = FeatureMap(images, extent=extent), {}
    for number, names in enumerate(BLOCKS[:4], 1):
        x = maps[f"pool{number}"] = vgg.run_block(x, names)
    return maps
