"""Winograd's algorithm and the dilation phases against the direct sum, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.algorithms import winograd
from fcn_jax.algorithms.choice import choose_for_inference
from fcn_jax.algorithms.dilation import join, separate
from fcn_jax.algorithms.layers import convolve_by_winograd, use_winograd
from fcn_jax.models.layers import conv

SIZES = [(1, 1), (2, 9), (4, 4), (13, 18), (16, 5)]


def test_the_matrices_compute_a_correlation():
    random = np.random.default_rng(0)
    inputs, taps = random.standard_normal(6), random.standard_normal(3)
    products = (winograd.FROM_INPUTS @ inputs) * (winograd.FROM_TAPS @ taps)
    expected = np.correlate(inputs, taps, "valid")
    np.testing.assert_allclose(winograd.TO_OUTPUTS @ products, expected, rtol=1e-13)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", SIZES)
def test_against_the_sum(size):
    random = np.random.default_rng(1)
    x, kernel = random.standard_normal((2, *size, 5)), random.standard_normal((3, 3, 5, 7))
    expected = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    result = jax.jit(winograd.winograd_conv)(x, winograd.transform_kernel(kernel))
    assert error(result, expected) < 1e-14  # 2e-15


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (13, 18)])
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_layers_of_every_dilation(size, dilation):
    layer = conv(
        6,
        4,
        3,
        padding=dilation,
        dilation=dilation,
        bias_init=jax.nn.initializers.normal(),
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    x = jnp.asarray(np.random.default_rng(2).standard_normal((2, *size, 6)))
    expected = layer(x)
    use_winograd(layer)
    assert error(jax.jit(lambda x: layer(x))(x), expected) < 1e-14  # 2e-15


@pytest.mark.parametrize("dilation", [2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 9, 10])
def test_phases_come_back_in_order_with_zeros_between(length, dilation):
    x = jnp.arange(1, 1 + 3 * length).reshape(1, length, 3)
    apart = separate(x, dilation, 1)
    count = min(length, dilation)
    assert apart.shape[1] == length + count - 1
    assert int((apart == 0).all((0, 2)).sum()) == count - 1
    np.testing.assert_array_equal(join(apart, dilation, 1, length), x)


def test_the_rule():
    """256 channels, 3x3, stride 1, same size, float32, CPU."""

    class Layers(nnx.Module):
        def __init__(self):
            # Initializers that draw nothing: only the shapes matter.
            made = {"rngs": nnx.Rngs(0), "kernel_init": jax.nn.initializers.zeros}
            self.suits = conv(256, 8, 3, padding=1, **made)
            self.dilated = conv(256, 8, 3, padding=2, dilation=2, **made)
            self.few = conv(255, 8, 3, padding=1, **made)
            self.strided = conv(256, 8, 3, padding=1, stride=2, **made)
            self.shrinking = conv(256, 8, 3, **made)
            self.pointwise = conv(256, 8, 1, **made)
            self.grouped = conv(512, 8, 3, padding=1, groups=2, **made)
            self.half = conv(256, 8, 3, padding=1, dtype=jnp.bfloat16, **made)

    def replaced(platform):
        layers = Layers()
        choose_for_inference(layers, platform)
        convs = {name: layer for name, layer in vars(layers).items() if isinstance(layer, nnx.Conv)}
        return {name for name, layer in convs.items() if layer.conv_general_dilated is convolve_by_winograd}

    assert replaced("cpu") == {"suits", "dilated"}
    assert replaced("gpu") == replaced("tpu") == set()


def error(result, expected):
    assert result.shape == expected.shape
    return float(np.abs(result - expected).max() / np.abs(expected).max())
