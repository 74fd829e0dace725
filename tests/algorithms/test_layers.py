"""A convolution as one product, and as one for each row of its kernel."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fcn_jax.algorithms import layers


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("few", [0, 10**6])
@pytest.mark.parametrize(
    ("size", "kernel"),
    [((2, 13, 11, 3), (7, 7, 3, 5)), ((1, 7, 9, 3), (7, 6, 3, 4)), ((3, 40, 31, 2), (7, 7, 2, 3))],
)
def test_unpadded_convolutions_of_few_and_of_many_positions(monkeypatch, size, kernel, few):
    monkeypatch.setattr(layers, "FEW_POSITIONS", few)
    random = np.random.default_rng(0)
    x, weights = jnp.asarray(random.standard_normal(size)), jnp.asarray(random.standard_normal(kernel))
    expected = lax.conv_general_dilated(
        x, weights, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = layers.convolve_by_rows(x, weights, (1, 1), ((0, 0), (0, 0)), precision=None)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())  # seen: 7e-16
