"""Small models of both families with random weights."""

import functools

import jax.numpy as jnp
import numpy as np
from flax import nnx

import fcn_jax
from fcn_jax.models import FCN, FCNHead, ResNet, SegmentationModel
from fcn_jax.transforms import SemanticSegmentation
from fcn_jax.zoo.table import MODELS
from tests.models.drawn import drawn
from tests.seeded import seeded_paper_state_dict
from weights_converter import ModelSpec

PAPER = ("fcn32s_vgg16", "fcn16s_vgg16", "fcn8s_vgg16", "fcn8s_atonce_vgg16", "fcn32s_alexnet")
NAMES = ("fcn_resnet50", *PAPER)
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


def abstract_model(name: str) -> SegmentationModel:
    """Builds the whole model at its published widths, without arrays."""
    row = MODELS[name]
    return nnx.eval_shape(lambda: row.create(ModelSpec(name=name, num_classes=21), rngs=nnx.Rngs(0)))


def relative_error(result, expected) -> float:
    """Returns the largest difference over the largest expected value."""
    assert result.shape == expected.shape
    return float(np.abs(result - expected).max() / np.abs(expected).max())
