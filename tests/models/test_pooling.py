"""Max-pooling with sizes rounded up, and local response normalization, against their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.models.pooling import local_response_norm, max_pool


def pool_by_definition(x: np.ndarray, window: int, stride: int) -> np.ndarray:
    rows, columns = (int(np.ceil((n - window) / stride)) + 1 for n in x.shape[1:3])
    result = np.empty((len(x), rows, columns, x.shape[-1]))
    for row, column in np.ndindex(rows, columns):
        top, left = row * stride, column * stride
        result[:, row, column] = x[:, top : top + window, left : left + window].max((1, 2))
    return result


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2), (3, 1), (5, 3)])
@pytest.mark.parametrize("size", [(5, 6), (6, 5), (9, 8), (7, 7), (12, 47)])
def test_max_pooling_equals_the_definition(window, stride, size):
    x = np.random.RandomState(0).standard_normal((2, *size, 3)).astype(np.float32) - 9  # below zero padding
    np.testing.assert_array_equal(
        max_pool(jnp.asarray(x), window, stride), pool_by_definition(x, window, stride)
    )


@pytest.mark.parametrize(
    ("window", "sizes"),
    [(2, {1: 1, 2: 1, 3: 2, 699: 350, 573: 287, 349: 175}), (3, {2: 1, 3: 1, 4: 2, 173: 86, 48: 24, 12: 6})],
)
def test_sizes_are_rounded_up(window, sizes):
    for size, expected in sizes.items():
        assert max_pool(jnp.ones((1, size, 2, 1)), window, 2).shape[1] == expected


def test_the_last_window_may_be_one_row_and_column():
    x = jnp.arange(-9.0, 0.0).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(max_pool(x, 2, 2)[0, :, :, 0], [[-5, -4], [-2, -1]])


@pytest.mark.parametrize(("window", "stride", "size"), [(2, 3, 9), (3, 2, 1)])
def test_unfit_windows_are_refused(window, stride, size):
    with pytest.raises(ValueError, match=f"got window {window}, stride {stride}, map"):
        max_pool(jnp.ones((1, size, size, 1)), window, stride)


def normalize_by_definition(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    result = np.empty_like(x)
    for channel in range(x.shape[-1]):
        window = x[..., max(0, channel - size // 2) : channel + size // 2 + 1]
        result[..., channel] = x[..., channel] / (k + alpha / size * (window**2).sum(-1)) ** beta
    return result


@pytest.mark.parametrize("channels", [1, 4, 5, 96])
@pytest.mark.parametrize(("size", "alpha", "beta", "k"), [(5, 1e-4, 0.75, 1.0), (3, 2e-2, 0.5, 2.0)])
@pytest.mark.usefixtures("float64")
def test_normalization_equals_the_definition(channels, size, alpha, beta, k):
    x = np.random.RandomState(0).standard_normal((2, 3, 4, channels)) * 100
    got = local_response_norm(jnp.asarray(x), size=size, alpha=alpha, beta=beta, k=k)
    np.testing.assert_allclose(
        got, normalize_by_definition(x, size, alpha, beta, k), rtol=1e-13
    )  # seen: 6e-16


def test_the_defaults_are_caffenets_and_alpha_is_divided_by_the_window():
    x = jnp.full((1, 1, 1, 5), 100.0)
    assert float(local_response_norm(x)[0, 0, 0, 2]) == pytest.approx(100 / 2**0.75, rel=1e-5)


def test_half_precision_is_squared_in_float32():
    x = jnp.full((1, 1, 1, 5), 300.0, jnp.float16)  # its square is beyond float16
    normalized = local_response_norm(x)
    assert normalized.dtype == jnp.float16
    assert float(normalized[0, 0, 0, 2]) == pytest.approx(300 / 10**0.75, rel=1e-3)


def test_a_window_without_a_centre_is_refused():
    with pytest.raises(ValueError, match="expected an odd size, got 4"):
        local_response_norm(jnp.ones((1, 1, 1, 5)), size=4)
