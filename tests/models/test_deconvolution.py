"""Transposed convolution against its definition, written as a loop over input pixels; bilinear kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.models.deconvolution import (
    Deconvolution,
    bilinear,
    bilinear_kernel,
    bilinear_weights,
    conv_transpose,
)
from fcn_jax.models.layers import Fixed


def deconvolve_by_definition(x, kernel, stride) -> np.ndarray:
    batch, rows, columns, inputs = x.shape
    kh, kw, outputs, _ = kernel.shape
    result = np.zeros((batch, stride * (rows - 1) + kh, stride * (columns - 1) + kw, outputs))
    for row, column, i, j, channel in np.ndindex(rows, columns, kh, kw, inputs):
        result[:, row * stride + i, column * stride + j] += (
            x[:, row, column, channel, None] * kernel[i, j, :, channel]
        )
    return result


CASES = [
    # kernel, in, out, stride
    ((4, 4), 2, 3, 2),
    ((3, 5), 3, 2, 2),
    ((7, 7), 2, 2, 4),
    ((2, 2), 2, 1, 3),  # a kernel smaller than the stride leaves gaps
    ((3, 3), 2, 3, 1),
]


@pytest.mark.parametrize(("size", "inputs", "outputs", "stride"), CASES)
@pytest.mark.usefixtures("float64")
def test_equals_the_definition(size, inputs, outputs, stride):
    random = np.random.RandomState(0)
    x = random.standard_normal((2, 3, 4, inputs))
    kernel = random.standard_normal((*size, outputs, inputs))
    got = conv_transpose(jnp.asarray(x), jnp.asarray(kernel), stride=stride)
    expected = deconvolve_by_definition(x, kernel, stride)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)  # seen: 2e-15


@pytest.mark.usefixtures("float64")
def test_is_the_transpose_of_a_convolution():
    random = np.random.RandomState(0)
    x, y = (jnp.asarray(random.standard_normal(shape)) for shape in [(1, 4, 5, 2), (1, 11, 13, 3)])
    kernel = jnp.asarray(random.standard_normal((5, 5, 3, 2)))
    convolved = jax.lax.conv_general_dilated(
        y, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    expected = jnp.vdot(x, convolved)
    np.testing.assert_allclose(jnp.vdot(conv_transpose(x, kernel, stride=2), y), expected, rtol=1e-13)


def test_other_shapes_are_refused():
    x, kernel = jnp.ones((1, 2, 2, 4)), jnp.ones((3, 3, 2, 4))
    for bad in (x[0], x[..., :3]):
        with pytest.raises(ValueError, match=r"expected maps \(N, h, w, C\) and a kernel"):
            conv_transpose(bad, kernel)


@pytest.mark.parametrize(
    ("size", "weights"),
    [
        (1, [1]),
        (2, [0.5, 0.5]),
        (3, [0.5, 1, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_bilinear_kernels_of_odd_and_even_sides(size, weights):
    np.testing.assert_allclose(bilinear_kernel(size), np.outer(weights, weights), rtol=1e-15)


@pytest.mark.parametrize("size", [3, 4, 16, 32, 63, 64])
def test_bilinear_kernels_follow_caffes_formula(size):
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    rows, columns = np.ogrid[:size, :size]
    expected = (1 - abs(rows - centre) / factor) * (1 - abs(columns - centre) / factor)
    np.testing.assert_allclose(bilinear_kernel(size), expected, rtol=1e-14)


def test_a_kernel_without_a_side_is_refused():
    with pytest.raises(ValueError, match="side of at least 1, got 0"):
        bilinear_kernel(0)


def test_bilinear_kernels_keep_channels_apart():
    kernel = bilinear(None, (4, 4, 3, 3))
    for output, source in np.ndindex(3, 3):
        np.testing.assert_array_equal(kernel[..., output, source], (output == source) * bilinear_kernel(4))


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 4, 2, 4)])
def test_bilinear_kernels_need_as_many_outputs_as_inputs(shape):
    with pytest.raises(ValueError, match="a square kernel with as many outputs as inputs"):
        bilinear(None, shape)


@pytest.mark.parametrize("stride", [2, 8, 32])
@pytest.mark.parametrize("odd", [0, 1])
def test_bilinear_upsampling_keeps_a_ramp_straight_away_from_the_border(stride, odd):
    size = 2 * stride - odd
    layer = Deconvolution(2, size, stride=stride)
    x = jnp.stack([jnp.arange(4.0), jnp.full(4, 5.0)], -1)[None, :, None]
    row = (size - 1) // 2  # where the one column weighs most
    column = layer(x)[0, :, row, :] / bilinear_weights(size)[row]
    inner = slice(stride, -stride)
    np.testing.assert_allclose(column[inner, 1], 5, rtol=1e-6)
    np.testing.assert_allclose(np.diff(column[inner, 0]), 1 / stride, rtol=1e-3)


@pytest.mark.parametrize("variable", [nnx.Param, Fixed])
def test_the_kernel_is_a_variable_of_the_kind_asked_for(variable):
    layer = Deconvolution(2, 4, stride=2, kernel_variable=variable)
    assert type(layer.kernel) is variable
    assert layer.kernel.shape == (4, 4, 2, 2)
    gradient = nnx.grad(lambda layer: layer(jnp.ones((1, 2, 2, 2))).sum())(layer)
    assert bool(jax.tree.leaves(gradient)) is (variable is nnx.Param)


def test_computes_in_the_dtype_asked_for():
    x = jnp.asarray(np.random.RandomState(0).standard_normal((1, 2, 2, 2)), jnp.bfloat16)
    assert Deconvolution(2, 4, stride=2)(x).dtype == jnp.float32
    half = Deconvolution(2, 4, stride=2, dtype=jnp.bfloat16)
    assert half(x).dtype == jnp.bfloat16
    assert half.kernel.dtype == jnp.float32
