"""The algorithms against the layers that they replace, and the rules that choose them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.algorithms.choice import choose_for_inference, choose_for_training
from fcn_jax.algorithms.gradients import (
    add_rectified_once_both_ways,
    convolve_by_product_both_ways,
    convolve_by_rows_both_ways,
    convolve_by_winograd_both_ways,
    convolve_with_kernel_bands,
    pool_by_comparison,
)
from fcn_jax.algorithms.layers import (
    SeparateMaxPool,
    add_rectified_once,
    convolve_by_product,
    convolve_by_rows,
    convolve_by_winograd,
)
from fcn_jax.algorithms.vgg_region import VGGRegion
from fcn_jax.models.layers import conv
from fcn_jax.models.pooling import max_pool
from fcn_jax.models.resnet import Bottleneck, MaxPool, add_rectified
from fcn_jax.models.vgg import VGG16


def test_rectified_sums_are_the_same_bits():
    random = np.random.default_rng(0)
    special = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38]
    pairs = np.array(list(itertools.product(special, repeat=2)), np.float32)
    x = np.concatenate([pairs[:, 0], random.standard_normal(10_000, np.float32)])
    shortcut = np.concatenate([pairs[:, 1], random.standard_normal(10_000, np.float32)])
    expected, result = jax.jit(add_rectified)(x, shortcut), jax.jit(add_rectified_once)(x, shortcut)
    np.testing.assert_array_equal(np.asarray(result).view(np.int32), np.asarray(expected).view(np.int32))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (8, 8), (13, 6), (30, 31)])
def test_pooling_in_two_directions_is_the_same(size):
    x = np.random.default_rng(0).standard_normal((2, *size, 3), np.float32) - 3  # below zero padding
    np.testing.assert_array_equal(jax.jit(SeparateMaxPool())(x), jax.jit(MaxPool())(x))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [(7, 7), (9, 8), (12, 20)])
@pytest.mark.parametrize(
    ("algorithm", "kernel", "stride"), [(convolve_by_rows, 7, 1), (convolve_by_product, 1, 2)]
)
def test_products_are_the_same_sum(algorithm, kernel, stride, size):
    layer = conv(
        3,
        4,
        kernel,
        stride=stride,
        bias_init=jax.nn.initializers.normal(),
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    x = np.random.default_rng(1).standard_normal((2, *size, 3))
    expected = layer(x)
    layer.conv_general_dilated = algorithm
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-14 * np.abs(expected).max())  # 2e-15


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_the_rules(dtype):
    def chosen(choose, platform):
        model = nnx.eval_shape(
            lambda: fcn_jax.fcn8s_vgg16(num_classes=2, features=(4, 4, 4, 4, 256), fc_features=4, dtype=dtype)
        )
        for layer in (model.backbone.conv5_2, model.backbone.conv5_3):  # their kernels are transformed
            layer.kernel.set_value(np.zeros((3, 3, 256, 256), np.float32))
        layers = {name: x for name, x in vars(model.backbone).items() if isinstance(x, nnx.Conv)}
        plain = {name: layer.conv_general_dilated for name, layer in layers.items()}
        assert set(plain.values()) == {jax.lax.conv_general_dilated}
        choose(model, platform)
        algorithms = {name: layer.conv_general_dilated for name, layer in layers.items()}
        assert len(algorithms) == 15
        return {name: each for name, each in algorithms.items() if each is not plain[name]}

    product = {"fc7": convolve_by_product}
    whole = {  # conv5_1 has 4 input channels
        "conv5_2": convolve_by_winograd,
        "conv5_3": convolve_by_winograd,
        "fc6": convolve_by_rows,
    }
    assert chosen(choose_for_inference, "cpu") == (product if dtype else product | whole)
    bands = {
        f"conv{block}_{number}": convolve_with_kernel_bands
        for block, count in enumerate((2, 2, 3, 3, 3), 1)
        for number in range(1, count + 1)
    }
    product = {"fc7": convolve_by_product_both_ways}
    winograd = {"conv5_2": convolve_by_winograd_both_ways, "conv5_3": convolve_by_winograd_both_ways}
    gradients = bands | winograd | {"fc6": convolve_by_rows_both_ways}
    assert chosen(choose_for_training, "cpu") == (product if dtype else product | gradients)
    for platform in ("gpu", "tpu"):
        assert chosen(choose_for_inference, platform) == chosen(choose_for_training, platform) == {}


@pytest.mark.parametrize(
    ("platform", "expected"), [("cpu", pool_by_comparison), ("gpu", max_pool), ("tpu", max_pool)]
)
def test_the_rule_of_poolings(platform, expected):
    vgg = nnx.eval_shape(lambda: VGG16((1,) * 5, 1, rngs=nnx.Rngs(0)))
    choose_for_training(vgg, platform)
    assert vgg.pool is expected


@pytest.mark.parametrize(
    ("platform", "expected"), [("cpu", add_rectified_once_both_ways), ("gpu", add_rectified)]
)
def test_the_rule_of_sums_in_training(platform, expected):
    block = nnx.eval_shape(lambda: Bottleneck(4, 1, rngs=nnx.Rngs(0)))
    choose_for_training(block, platform)
    assert block.add is expected


@pytest.mark.parametrize(("platform", "remat"), [("cpu", False), ("cpu", True), ("gpu", False)])
def test_the_rule_of_regions_in_training(platform, remat):
    vgg = nnx.eval_shape(lambda: VGG16((1,) * 5, 1, rngs=nnx.Rngs(0)))
    vgg.remat = remat
    choose_for_training(vgg, platform)
    assert isinstance(vgg.first_blocks, VGGRegion) == (platform == "cpu" and not remat)


def test_the_rules_of_3x3_in_training():
    class Layers(nnx.Module):
        def __init__(self):
            made = {"rngs": nnx.Rngs(0), "kernel_init": jax.nn.initializers.zeros}
            self.suits = conv(64, 64, 3, padding=1, **made)
            self.dilated = conv(64, 64, 3, padding=4, dilation=4, **made)
            self.few_inputs = conv(63, 64, 3, padding=1, **made)
            self.few_outputs = conv(64, 63, 3, padding=1, **made)
            self.growing = conv(64, 64, 3, padding=100, **made)
            self.narrow = conv(2, 2, 3, padding=1, **made)
            self.narrow_dilated = conv(2, 2, 3, padding=4, dilation=4, **made)
            self.strided = conv(2, 2, 3, padding=1, stride=2, **made)
            self.padded = conv(2, 2, 7, padding=3, **made)
            self.grouped = conv(2, 2, 3, padding=1, groups=2, **made)
            self.half = conv(2, 2, 3, padding=1, dtype=jnp.bfloat16, **made)

    layers = Layers()
    choose_for_training(layers, "cpu")
    convs = {name: layer for name, layer in vars(layers).items() if isinstance(layer, nnx.Conv)}
    winograd, bands = convolve_by_winograd_both_ways, convolve_with_kernel_bands
    assert {name: layer.conv_general_dilated for name, layer in convs.items()} == {
        "suits": winograd,
        "dilated": winograd,
        "few_inputs": bands,
        "few_outputs": bands,
        "growing": bands,
        "narrow": bands,
        "narrow_dilated": bands,
        "strided": jax.lax.conv_general_dilated,
        "padded": jax.lax.conv_general_dilated,
        "grouped": jax.lax.conv_general_dilated,
        "half": jax.lax.conv_general_dilated,
    }
