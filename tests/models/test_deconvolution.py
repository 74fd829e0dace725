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


def deconvolve_by_definition(x, kernel, stride, padding, output_padding, dilation, groups) -> np.ndarray:
    batch, rows, columns, inputs = x.shape
    kh, kw, outputs, _ = kernel.shape
    full = [stride * (n - 1) + dilation * (k - 1) + 1 for n, k in ((rows, kh), (columns, kw))]
    result = np.zeros((batch, full[0] + output_padding, full[1] + output_padding, groups * outputs))
    for row, column, i, j, channel in np.ndindex(rows, columns, kh, kw, inputs):
        group = channel // (inputs // groups)
        target = result[:, row * stride + i * dilation, column * stride + j * dilation]
        target[:, group * outputs : (group + 1) * outputs] += (
            x[:, row, column, channel, None] * kernel[i, j, :, channel]
        )
    height, width = result.shape[1:3]
    return result[:, padding : height - padding, padding : width - padding]


CASES = [
    # kernel, in, out, stride, padding, output_padding, dilation, groups
    ((4, 4), 2, 3, 2, 0, 0, 1, 1),
    ((3, 5), 3, 2, 2, 1, 1, 1, 1),
    ((7, 7), 2, 2, 4, 0, 0, 1, 1),
    ((2, 2), 2, 1, 3, 0, 2, 1, 1),
    ((1, 1), 1, 2, 3, 0, 1, 1, 1),
    ((3, 3), 2, 3, 1, 1, 0, 1, 1),
    ((3, 2), 2, 2, 2, 1, 2, 3, 1),
    ((3, 3), 4, 6, 2, 1, 1, 1, 2),
    ((4, 4), 3, 3, 2, 0, 0, 2, 3),
]


@pytest.mark.parametrize(
    ("size", "inputs", "outputs", "stride", "padding", "extra", "dilation", "groups"), CASES
)
@pytest.mark.usefixtures("float64")
def test_equals_the_definition(size, inputs, outputs, stride, padding, extra, dilation, groups):
    random = np.random.RandomState(0)
    x = random.standard_normal((2, 3, 4, inputs))
    kernel = random.standard_normal((*size, outputs // groups, inputs))
    bias = random.standard_normal(outputs)
    layer = Deconvolution(
        inputs,
        outputs,
        3,  # not all kernels here are square: kernel_init decides
        stride=stride,
        padding=padding,
        output_padding=extra,
        dilation=dilation,
        groups=groups,
        bias_init=lambda *_: jnp.asarray(bias),
        kernel_init=lambda *_: jnp.asarray(kernel),
        rngs=nnx.Rngs(0),
    )
    got = layer(jnp.asarray(x))
    expected = deconvolve_by_definition(x, kernel, stride, padding, extra, dilation, groups) + bias
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


def test_says_what_it_wants():
    x, kernel = jnp.ones((1, 2, 2, 4)), jnp.ones((3, 3, 2, 4))
    for bad in (x[0], x[..., :3]):
        with pytest.raises(ValueError, match=r"expected maps \(N, h, w, C\) and a kernel"):
            conv_transpose(bad, kernel)
    with pytest.raises(ValueError, match="C a multiple of groups"):
        conv_transpose(x, kernel, groups=3)
    for padding in ({"output_padding": 2}, {"output_padding": -1}, {"padding": -1}):
        with pytest.raises(ValueError, match="padding of at least 0 and an output_padding below the stride"):
            conv_transpose(x, kernel, stride=2, **padding)
    with pytest.raises(ValueError, match=r"a result of at least one pixel, got \(0, 0\)"):
        conv_transpose(x, kernel, padding=2)
    with pytest.raises(ValueError, match="channels in multiples of groups, got 4 in, 3 out, groups 2"):
        Deconvolution(4, 3, 2, groups=2, rngs=nnx.Rngs(0))


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


def test_a_kernel_has_a_side():
    with pytest.raises(ValueError, match="side of at least 1, got 0"):
        bilinear_kernel(0)


def test_bilinear_kernels_keep_channels_apart():
    kernel = bilinear()(None, (4, 4, 3, 3))
    for output, source in np.ndindex(3, 3):
        np.testing.assert_array_equal(kernel[..., output, source], (output == source) * bilinear_kernel(4))
    np.testing.assert_array_equal(
        bilinear(groups=3)(None, (4, 4, 1, 3)), np.repeat(bilinear_kernel(4)[..., None, None], 3, -1)
    )


@pytest.mark.parametrize(("shape", "groups"), [((4, 3, 2, 2), 1), ((4, 4, 2, 4), 1), ((4, 4, 4, 4), 2)])
def test_bilinear_kernels_need_as_many_outputs_as_inputs(shape, groups):
    with pytest.raises(ValueError, match="a square kernel with as many outputs as inputs"):
        bilinear(groups)(None, shape)


@pytest.mark.parametrize("stride", [2, 8, 32])
@pytest.mark.parametrize("odd", [0, 1])
def test_bilinear_upsampling_keeps_a_ramp_straight_away_from_the_border(stride, odd):
    size = 2 * stride - odd
    layer = Deconvolution(2, 2, size, stride=stride, rngs=nnx.Rngs(0))
    x = jnp.stack([jnp.arange(4.0), jnp.full(4, 5.0)], -1)[None, :, None]
    row = (size - 1) // 2  # where the one column weighs most
    column = layer(x)[0, :, row, :] / bilinear_weights(size)[row]
    inner = slice(stride, -stride)
    np.testing.assert_allclose(column[inner, 1], 5, rtol=1e-6)
    np.testing.assert_allclose(np.diff(column[inner, 0]), 1 / stride, rtol=1e-3)


@pytest.mark.parametrize("variable", [nnx.Param, Fixed])
def test_the_kernel_is_a_variable_of_the_kind_asked_for(variable):
    layer = Deconvolution(2, 2, 4, stride=2, kernel_variable=variable, rngs=nnx.Rngs(0))
    assert type(layer.kernel) is variable
    assert layer.kernel.shape == (4, 4, 2, 2)
    assert layer.bias is None
    gradient = nnx.grad(lambda layer: layer(jnp.ones((1, 2, 2, 2))).sum())(layer)
    assert bool(jax.tree.leaves(gradient)) is (variable is nnx.Param)


def test_computes_in_the_dtype_asked_for():
    x = jnp.asarray(np.random.RandomState(0).standard_normal((1, 2, 2, 2)), jnp.bfloat16)
    settings = {"stride": 2, "bias_init": jax.nn.initializers.ones, "rngs": nnx.Rngs(0)}
    assert Deconvolution(2, 2, 4, **settings)(x).dtype == jnp.float32
    half = Deconvolution(2, 2, 4, dtype=jnp.bfloat16, **settings)
    assert half(x).dtype == jnp.bfloat16
    assert half.kernel.dtype == half.bias.dtype == jnp.float32
