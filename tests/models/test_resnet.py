"""The geometry of the ResNet: strides and dilations, which no shape in a checkpoint shows."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from fcn_jax.models.resnet import ResNet


@pytest.fixture(scope="module")
def backbone() -> ResNet:
    return nnx.eval_shape(lambda: ResNet((3, 4, 6, 3), rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("stage", "block", "stride", "dilation"),
    [
        ("layer1", 0, 1, 1),
        ("layer1", 2, 1, 1),
        ("layer2", 0, 2, 1),
        ("layer2", 3, 1, 1),
        ("layer3", 0, 1, 1),
        ("layer3", 5, 1, 2),
        ("layer4", 0, 1, 2),
        ("layer4", 2, 1, 4),
    ],
)
def test_the_first_block_of_a_dilated_stage_has_the_dilation_of_the_stage_before(
    backbone, stage, block, stride, dilation
):
    conv2 = getattr(backbone, stage)[block].conv2
    assert conv2.strides == (stride, stride)
    assert conv2.kernel_dilation == (dilation, dilation)
    assert conv2.padding == ((dilation, dilation), (dilation, dilation))


def test_only_the_first_block_of_a_stage_projects_its_shortcut(backbone):
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        assert [block.downsample is not None for block in stage] == [True] + [False] * (len(stage) - 1)


@pytest.mark.parametrize("size", [(1, 1), (8, 9), (33, 47), (520, 693), (17, 1)])
def test_maps_are_an_eighth_of_the_image_rounded_up(backbone, size):
    backbone.eval()
    features = nnx.eval_shape(
        lambda model, images: model(images), backbone, jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    )
    eighth = tuple(-(-n // 8) for n in size)
    assert features["layer3"].shape == (2, *eighth, 1024)
    assert features["layer4"].shape == (2, *eighth, 2048)
