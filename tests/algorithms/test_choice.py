"""The algorithms against the layers they stand for, and the rule that chooses them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.algorithms.choice import (
    SeparateMaxPool,
    add_rectified_once,
    choose_algorithms,
    convolve_by_rows,
    convolve_by_winograd,
)
from fcn_jax.models.layers import conv, convolve, multiply_pixels
from fcn_jax.models.resnet import MaxPool, add_rectified


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
    x = np.random.default_rng(0).standard_normal((2, *size, 3), np.float32) - 3  # padding must not win
    np.testing.assert_array_equal(jax.jit(SeparateMaxPool())(x), jax.jit(MaxPool())(x))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [(7, 7), (9, 8), (12, 20)])
def test_a_product_for_each_row(size):
    layer = conv(3, 4, 7, bias_init=jax.nn.initializers.normal(), param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    x = np.random.default_rng(1).standard_normal((2, *size, 3))
    expected = layer(x)
    layer.conv_general_dilated = convolve_by_rows
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-14 * np.abs(expected).max())  # 2e-15


def test_the_rule():
    def chosen(platform, dtype=None):
        model = fcn_jax.fcn8s_vgg16(num_classes=2, features=(4, 4, 4, 4, 256), fc_features=4, dtype=dtype)
        choose_algorithms(model, platform)
        layers = {name: x for name, x in vars(model.backbone).items() if isinstance(x, nnx.Conv)}
        algorithms = {name: layer.conv_general_dilated for name, layer in layers.items()}
        assert len(algorithms) == 15
        return {name: chosen for name, chosen in algorithms.items() if chosen is not convolve}

    assert chosen("cpu") == {  # conv5_1 has 4 input channels
        "conv5_2": convolve_by_winograd,
        "conv5_3": convolve_by_winograd,
        "fc6": convolve_by_rows,
        "fc7": multiply_pixels,
    }
    assert chosen("cpu", jnp.bfloat16) == {"fc7": multiply_pixels}
    assert chosen("gpu") == chosen("tpu")
    assert set(chosen("gpu").values()) == {jax.lax.conv_general_dilated}
