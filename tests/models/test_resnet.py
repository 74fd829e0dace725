"""The geometry of the ResNets: strides and dilations, which no shape in a checkpoint shows."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from fcn_jax.models.resnet import BLOCKS, BasicBlock, ResNet


def abstract(**settings) -> ResNet:
    return nnx.eval_shape(lambda: ResNet((3, 4, 6, 3), rngs=nnx.Rngs(0), **settings))


@pytest.fixture(scope="module")
def backbones() -> dict[int, ResNet]:
    return {8: abstract(), 16: abstract(stride=16, deep_stem=True)}


@pytest.mark.parametrize(
    ("output_stride", "stage", "block", "stride", "dilation"),
    [
        (8, "layer1", 0, 1, 1),
        (8, "layer1", 2, 1, 1),
        (8, "layer2", 0, 2, 1),
        (8, "layer2", 3, 1, 1),
        (8, "layer3", 0, 1, 1),
        (8, "layer3", 5, 1, 2),
        (8, "layer4", 0, 1, 2),
        (8, "layer4", 2, 1, 4),
        (16, "layer2", 0, 2, 1),
        (16, "layer3", 0, 2, 1),
        (16, "layer3", 5, 1, 1),
        (16, "layer4", 0, 1, 1),
        (16, "layer4", 2, 1, 2),
    ],
)
def test_the_first_block_of_a_dilated_stage_has_the_dilation_of_the_stage_before(
    backbones, output_stride, stage, block, stride, dilation
):
    conv2 = getattr(backbones[output_stride], stage)[block].conv2
    assert conv2.strides == (stride, stride)
    assert conv2.kernel_dilation == (dilation, dilation)
    assert conv2.padding == ((dilation, dilation), (dilation, dilation))


def test_only_the_first_block_of_a_stage_projects_its_shortcut(backbones):
    backbone = backbones[8]
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        assert [block.downsample is not None for block in stage] == [True] + [False] * (len(stage) - 1)


def test_basic_blocks_dilate_their_first_convolution_alone():
    backbone = nnx.eval_shape(lambda: ResNet(BLOCKS["resnet18"], block=BasicBlock, rngs=nnx.Rngs(0)))
    first, second = backbone.layer4[1].conv1, backbone.layer4[1].conv2
    assert (first.kernel_dilation, second.kernel_dilation) == ((4, 4), (1, 1))
    assert [stage[0].downsample is None for stage in (backbone.layer1, backbone.layer2)] == [True, False]


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(1, 1), (8, 9), (33, 47), (520, 693), (17, 1)])
def test_maps_are_a_part_of_the_image_rounded_up(backbones, size, output_stride):
    backbone = backbones[output_stride]
    backbone.eval()
    features = nnx.eval_shape(
        lambda model, images: model(images), backbone, jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    )
    part = tuple(-(-n // output_stride) for n in size)
    assert features["layer3"].shape == (2, *part, 1024)
    assert features["layer4"].shape == (2, *part, 2048)
