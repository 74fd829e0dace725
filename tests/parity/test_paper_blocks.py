"""The blocks of the paper's networks against PyTorch's, in float64.

The figures in the comments are the largest seen, on a CPU with jax 0.10.2 and torch 2.13.0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.algorithms.gradients import pool_by_comparison
from fcn_jax.models.deconvolution import Deconvolution, conv_transpose
from fcn_jax.models.layers import conv
from fcn_jax.models.pooling import local_response_norm, max_pool
from tests.parity.sides import from_torch, relative_error, to_torch, torch

pytestmark = pytest.mark.usefixtures("float64")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(shape)


def check_both_ways(ours, reference, x: np.ndarray) -> None:
    """Compares the results of two functions, and gradients of a randomly weighted sum of the results."""
    leaf = to_torch(x).requires_grad_()
    expected = reference(leaf)
    cotangent = random(*expected.shape, seed=1)
    expected.backward(torch.from_numpy(cotangent))

    @jax.jit
    def both_ways(x, cotangent):
        got, pullback = jax.vjp(ours, x)
        return got, *pullback(cotangent)

    got, gradient = both_ways(jnp.asarray(x), jnp.asarray(np.moveaxis(cotangent, 1, -1)))
    assert got.dtype == np.float64
    assert relative_error(got, from_torch(expected)) < 1e-12  # seen: 8e-16
    assert relative_error(gradient, from_torch(leaf.grad)) < 1e-12  # seen: 5e-15


TRANSPOSED = [
    # in, out, kernel, stride
    (2, 2, 4, 2),
    (3, 2, 16, 8),
    (2, 3, 32, 16),
    (2, 2, 63, 32),
    (2, 2, 64, 32),
    (2, 3, 2, 5),  # a kernel smaller than the stride leaves gaps
    (2, 2, 3, 1),
]


@pytest.mark.parametrize("size", [(1, 1), (4, 7)])
@pytest.mark.parametrize(("inputs", "outputs", "kernel", "stride"), TRANSPOSED)
def test_transposed_convolution(inputs, outputs, kernel, stride, size):
    weight = random(inputs, outputs, kernel, kernel)
    check_both_ways(
        lambda x: conv_transpose(x, jnp.asarray(weight.transpose(2, 3, 1, 0)), stride=stride),
        lambda x: torch.nn.functional.conv_transpose2d(x, torch.from_numpy(weight), stride=stride),
        random(2, *size, inputs, seed=2),
    )


def test_transposed_convolution_gives_its_kernel_pytorchs_gradient():
    weight, x = random(4, 4, 5, 5), random(2, 3, 4, 4, seed=2)
    leaf = torch.from_numpy(weight).requires_grad_()
    expected = torch.nn.functional.conv_transpose2d(to_torch(x), leaf, stride=2)
    cotangent = random(*expected.shape, seed=1)
    expected.backward(torch.from_numpy(cotangent))
    layer = Deconvolution(4, 5, stride=2, param_dtype=jnp.float64)
    layer.kernel.set_value(jnp.asarray(weight.transpose(2, 3, 1, 0)))
    upstream = np.moveaxis(cotangent, 1, -1)
    gradient = nnx.grad(lambda layer: (layer(jnp.asarray(x)) * upstream).sum())(layer)
    assert (
        relative_error(gradient.kernel[...], leaf.grad.numpy().transpose(2, 3, 1, 0)) < 1e-12
    )  # seen: 4e-16


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2)])
@pytest.mark.parametrize("size", [(3, 4), (7, 6), (8, 9)])
def test_max_pooling_with_sizes_rounded_up(window, stride, size):
    check_both_ways(
        lambda x: max_pool(x, window, stride),
        lambda x: torch.nn.functional.max_pool2d(x, window, stride, ceil_mode=True),
        random(2, *size, 3) - 5,  # below zero padding
    )


@pytest.mark.parametrize("size", [(3, 4), (7, 6), (8, 9)])
def test_pooling_chooses_among_equal_maxima_as_pytorch_does(size):
    check_both_ways(
        lambda x: pool_by_comparison(x, 2, 2),
        lambda x: torch.nn.functional.max_pool2d(x, 2, 2, ceil_mode=True),
        np.round(random(2, *size, 3)) - 1,
    )


@pytest.mark.parametrize("channels", [1, 3, 5, 12])
def test_local_response_normalization(channels):
    check_both_ways(
        local_response_norm,
        lambda x: torch.nn.functional.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0),
        random(2, 4, 7, channels) * 300,  # so that the squares weigh more than k
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"), [(5, 1, 2, 2), (3, 1, 1, 3), (11, 4, 100, 1)]
)
def test_grouped_convolution(kernel, stride, padding, groups):
    weight, bias = random(12, 6 // groups, kernel, kernel), random(12, seed=3)
    layer = conv(
        6,
        12,
        kernel,
        stride=stride,
        padding=padding,
        groups=groups,
        kernel_init=lambda *_: jnp.asarray(weight.transpose(2, 3, 1, 0)),
        bias_init=lambda *_: jnp.asarray(bias),
        rngs=nnx.Rngs(0),
    )
    check_both_ways(
        layer,
        lambda x: torch.nn.functional.conv2d(
            x,
            torch.from_numpy(weight),
            torch.from_numpy(bias),
            stride=stride,
            padding=padding,
            groups=groups,
        ),
        random(2, 9, 8, 6, seed=2),
    )
