"""The networks: backbones, heads, and models made of them. `fcn_jax.zoo` builds them and loads weights."""

from fcn_jax.models.fcn import FCN
from fcn_jax.models.heads import ConcatHead, FCNHead
from fcn_jax.models.layers import Fixed
from fcn_jax.models.mmseg import MMSegFCN
from fcn_jax.models.model import SegmentationModel
from fcn_jax.models.resnet import ResNet
from fcn_jax.models.skip_fcn import SkipFCN

__all__ = [
    "FCN",
    "ConcatHead",
    "FCNHead",
    "Fixed",
    "MMSegFCN",
    "ResNet",
    "SegmentationModel",
    "SkipFCN",
]
