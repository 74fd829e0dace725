"""mmsegmentation's fully convolutional networks: its heads on a ResNet of output stride 8 or 16.

They differ from torchvision's in the head on "layer4", which convolves its own input again, and may have a
deep stem ("V1c"), dilated heads on a backbone of stride 16 ("D6"), basic blocks (R-18) and aligned corners.
Two departures, in random weights only: the last batch norm of each block starts at 1, not 0; and the heads'
convolutions are drawn like the backbone's.

Source: `configs/fcn` and `mmseg.models` of mmsegmentation 1.2.2.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.fcn import FCN
from fcn_jax.models.heads import ConcatHead, FCNHead
from fcn_jax.models.resnet import BLOCKS, WIDTHS, BasicBlock, Block, Bottleneck, ResNet
from fcn_jax.transforms import FitWithin, Preset
from weights_converter import ModelSpec


class Variant(NamedTuple):
    """What a model's name says.

    Attributes:
      backbone: see `resnet.BLOCKS`.
      block: the class of its blocks.
      stride: of the backbone, see `resnet.STAGES`.
      dilation: of the 3x3 convolutions of both heads, except the concatenating one.
    """

    backbone: str
    block: type[Block]
    stride: int
    dilation: int


VARIANTS = {
    "fcn_r18_d8": Variant("resnet18", BasicBlock, stride=8, dilation=1),
    "fcn_r50_d8": Variant("resnet50", Bottleneck, stride=8, dilation=1),
    "fcn_r101_d8": Variant("resnet101", Bottleneck, stride=8, dilation=1),
    "fcn_r50_d6": Variant("resnet50", Bottleneck, stride=16, dilation=6),
    "fcn_r101_d6": Variant("resnet101", Bottleneck, stride=16, dilation=6),
}


class MMSegFCN(FCN):
    """An FCN with mmsegmentation's conventions around it."""

    @staticmethod
    def default_transforms(preset: str | None) -> Preset:
        """Returns the preset of mmsegmentation's Cityscapes networks, which keeps Cityscapes' own size."""
        return FitWithin()

    @property
    def backbone_spec(self) -> ModelSpec | None:
        """The spec of torchvision's classifier for the backbone; None with a deep stem and for R-18."""
        name = VARIANTS[self.spec.name].backbone
        if self.spec.stem == "deep" or name == "resnet18":
            return None
        return ModelSpec(name=name, in_channels=self.spec.in_channels)


def create(spec: ModelSpec, *, rngs: nnx.Rngs, dtype: Any = None, param_dtype: Any = jnp.float32) -> MMSegFCN:
    """Makes one of mmsegmentation's FCNs with random weights, in training mode.

    Args:
      spec: its name is one of `VARIANTS`.
      dtype: of the computation; by default promoted from the parameters and the input.
    """
    variant, widths = VARIANTS[spec.name], spec.features or WIDTHS
    settings = {"rngs": rngs, "dtype": dtype, "param_dtype": param_dtype}
    layer3, layer4 = (width * variant.block.expansion for width in widths[-2:])
    return MMSegFCN(
        spec,
        ResNet(
            BLOCKS[variant.backbone],
            spec.in_channels,
            stride=variant.stride,
            widths=widths,
            block=variant.block,
            deep_stem=spec.stem == "deep",
            **settings,
        ),
        ConcatHead(layer4, spec.num_classes, dilation=variant.dilation, **settings),
        FCNHead(layer3, spec.num_classes, dilation=variant.dilation, whole_channels=True, **settings)
        if spec.aux_loss
        else None,
    )
