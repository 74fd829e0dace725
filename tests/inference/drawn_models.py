"""Small models of all families with random weights."""

import functools

import jax.numpy as jnp
import numpy as np
from flax import nnx

import fcn_jax
from fcn_jax.models import FCN, ConcatHead, FCNHead, MMSegFCN, ResNet, SegmentationModel
from fcn_jax.models.mmseg import VARIANTS
from fcn_jax.transforms import SemanticSegmentation
from fcn_jax.zoo.table import MODELS
from tests.models.drawn import drawn
from tests.seeded import seeded_paper_state_dict
from weights_converter import ModelSpec

PAPER = ("fcn32s_vgg16", "fcn16s_vgg16", "fcn8s_vgg16", "fcn8s_atonce_vgg16", "fcn32s_alexnet")
MMSEGMENTATION = {
    "fcn_r50_d6": {"stem": "deep", "align_corners": True},
    "fcn_r18_d8": {"stem": "torchvision", "align_corners": False},
}
"""The two between them have every kind of layer."""
WIDTHS = (8, 16, 32, 64, 64)
"""Enough for the heads to use Winograd's algorithm, which needs 256 channels."""
NAMES = ("fcn_resnet50", *PAPER, *MMSEGMENTATION)
NUM_CLASSES = 5


@functools.cache
def drawn_model(name: str, dtype: str = "float64") -> SegmentationModel:
    """Builds a model with 5 classes. Float64 needs jax_enable_x64.

    "fcn_resnet50" has its auxiliary head, but at most two blocks per stage: every kind of block compiles in
    a third of the time. tests/parity compares the whole network with torchvision's.
    """
    if name in PAPER:
        weights = {key: value.astype(dtype) for key, value in seeded_paper_state_dict(name).items()}
        return fcn_jax.get_model(name, weights=weights, param_dtype=jnp.dtype(dtype))

    if name in MMSEGMENTATION:
        model = drawn(lambda: short_mmseg_fcn(name, rngs=nnx.Rngs(0), param_dtype=jnp.dtype(dtype)))
        model.update_meta(transforms=SemanticSegmentation())
        return model

    def build() -> FCN:
        settings = {"rngs": nnx.Rngs(0), "param_dtype": jnp.dtype(dtype)}
        spec = ModelSpec(name=name, num_classes=NUM_CLASSES, aux_loss=True)
        heads = (FCNHead(channels, NUM_CLASSES, **settings) for channels in (2048, 1024))
        return FCN(spec, ResNet((1, 1, 2, 2), **settings), *heads)

    model = drawn(build)
    for block in (
        *model.backbone.layer1,
        *model.backbone.layer2,
        *model.backbone.layer3,
        *model.backbone.layer4,
    ):
        block.bn3.scale.set_value(block.bn3.scale[...] * 0.3)  # branches add up: keeps activations near 1
    model.update_meta(transforms=SemanticSegmentation())
    return model


def short_mmseg_fcn(name: str, **settings) -> MMSegFCN:
    """Builds a narrow FCN of mmsegmentation, with its auxiliary head and at most two blocks per stage."""
    spec = ModelSpec(
        name=name, num_classes=NUM_CLASSES, aux_loss=True, features=WIDTHS, **MMSEGMENTATION[name]
    )
    variant = VARIANTS[name]
    backbone = ResNet(
        (1, 1, 2, 2),
        stride=variant.stride,
        widths=WIDTHS,
        block=variant.block,
        deep_stem=spec.stem == "deep",
        **settings,
    )
    layer3, layer4 = (variant.block.expansion * width for width in WIDTHS[-2:])
    return MMSegFCN(
        spec,
        backbone,
        ConcatHead(layer4, NUM_CLASSES, dilation=variant.dilation, **settings),
        FCNHead(layer3, NUM_CLASSES, dilation=variant.dilation, whole_channels=True, **settings),
    )


def abstract_model(name: str) -> SegmentationModel:
    """Builds the whole model at its published widths, without arrays."""
    row = MODELS[name]
    return nnx.eval_shape(lambda: row.create(ModelSpec(name=name, num_classes=21), rngs=nnx.Rngs(0)))


def relative_error(result, expected) -> float:
    """Returns the largest difference over the largest expected value."""
    assert result.shape == expected.shape
    return float(np.abs(result - expected).max() / np.abs(expected).max())
