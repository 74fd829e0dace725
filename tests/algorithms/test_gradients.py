"""Gradients computed in other ways against JAX's own, in float64."""

import functools

import jax
import numpy as np
import pytest

from fcn_jax.algorithms import gradients
from fcn_jax.models.pooling import max_pool
from fcn_jax.models.resnet import add_rectified

NHWC = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
pytestmark = pytest.mark.usefixtures("float64")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def both_ways(function, *inputs):
    """Returns the result, then the gradients of its randomly weighted sum."""
    result, pullback = jax.jit(lambda *inputs: jax.vjp(function, *inputs))(*inputs)
    return result, *jax.jit(pullback)(random(*result.shape, seed=7))


def error(found, expected) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def direct(x, kernel, strides, padding, *, precision, **settings):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, precision=precision, **settings)


def check(algorithm, x, kernel, padding: int, dilation: int = 1) -> None:
    """Compares a convolution and both its gradients with XLA's."""

    def convolve(algorithm, x, kernel):
        return algorithm(
            x,
            kernel,
            (1, 1),
            ((padding, padding),) * 2,
            lhs_dilation=(1, 1),
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=1,
            precision=None,
        )

    results = (both_ways(functools.partial(convolve, each), x, kernel) for each in (algorithm, direct))
    for found, expected in zip(*results, strict=True):
        assert error(found, expected) < 1e-12  # seen: 2e-15


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_kernels_of_one_pixel(strides):
    x, kernel = random(2, 9, 6, 3), random(1, 1, 3, 5, seed=1)

    def convolve(algorithm, x, kernel):
        return algorithm(x, kernel, strides, ((0, 0), (0, 0)), precision=None, **NHWC)

    algorithms = gradients.convolve_by_product_both_ways, direct
    results = (both_ways(functools.partial(convolve, each), x, kernel) for each in algorithms)
    for found, expected in zip(*results, strict=True):
        assert error(found, expected) < 1e-12  # seen: 3e-16


def test_sums_of_blocks():
    x, shortcut = random(2, 5, 7, 4), random(2, 5, 7, 4, seed=1)
    x[0], shortcut[0, 0] = -shortcut[0], -0.0  # sums of zero, where ReLU has no gradient
    found, expected = (
        both_ways(add, x, shortcut) for add in (gradients.add_rectified_once_both_ways, add_rectified)
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found[1].any()


@pytest.mark.parametrize("size", [(7, 7), (9, 8), (11, 18)])
def test_large_unpadded_kernels(size):
    check(gradients.convolve_by_rows_both_ways, random(2, *size, 3), random(7, 7, 3, 5, seed=1), 0)


@pytest.mark.parametrize(
    ("size", "padding", "dilation", "band"),
    [
        ((1, 1), 1, 1, 1),
        ((3, 3), 0, 1, 1),  # a row in each band
        ((13, 5), 1, 1, 2 * 4 * 5 * 9 * 3 * 8),  # four rows, the last band has one
        ((13, 5), 1, 1, 2**23),  # all rows
        ((2, 3), 4, 1, 2 * 3 * 9 * 9 * 3 * 8),  # the padding is larger than the kernel
        ((7, 9), 2, 2, 2 * 3 * 9 * 9 * 3 * 8),
        ((3, 5), 4, 4, 1),
    ],
)
def test_kernels_band_by_band(monkeypatch, size, padding, dilation, band):
    monkeypatch.setattr(gradients, "LARGE", 1)
    monkeypatch.setattr(gradients, "BAND", band)
    kernel = random(3, 3, 3, 1, seed=1)
    check(gradients.convolve_with_kernel_bands, random(2, *size, 3), kernel, padding, dilation)


@pytest.mark.parametrize("few", [0, 2**30])
@pytest.mark.parametrize(
    ("size", "dilation"), [((1, 1), 1), ((13, 18), 1), ((9, 7), 2), ((3, 5), 4), ((11, 6), 4)]
)
def test_kernels_by_winograd(monkeypatch, size, dilation, few):
    monkeypatch.setattr(gradients, "FEW", few)
    kernel = random(3, 3, 6, 5, seed=1)
    check(gradients.convolve_by_winograd_both_ways, random(2, *size, 6), kernel, dilation, dilation)


@pytest.mark.parametrize(("size", "by_winograd"), [((16, 16), False), ((16, 17), True)])
def test_small_maps_are_left_to_xla(size, by_winograd):
    def convolve(x, kernel):
        return gradients.convolve_by_winograd_both_ways(
            x, kernel, (1, 1), ((1, 1), (1, 1)), rhs_dilation=(1, 1), precision=None, **NHWC
        )

    program = str(jax.make_jaxpr(convolve)(random(2, *size, 6), random(3, 3, 6, 5)))
    assert ("conv_general_dilated" not in program) == by_winograd


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 8), (13, 5)])
def test_pooling_chooses_the_first_maximum(size):
    """Equal to the bit; small integers make many equal maxima."""
    x = np.round(random(2, *size, 3)) - 1
    found, expected = (
        both_ways(lambda x, each=each: each(x, 2, 2), x) for each in (gradients.pool_by_comparison, max_pool)
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
