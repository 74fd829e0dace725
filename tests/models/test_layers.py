"""Batch normalization against its definition in NumPy; the distributions of random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.models.layers import TORCH_CONV, BatchNorm, conv, torch_conv_bias


def filled_batch_norm(channels: int, dtype=None, param_dtype=jnp.float64) -> tuple[BatchNorm, dict]:
    random = np.random.RandomState(0)
    rows = {
        "scale": random.uniform(0.5, 1.5, channels),
        "bias": random.standard_normal(channels),
        "mean": random.standard_normal(channels),
        "var": random.uniform(0.5, 1.5, channels),
    }
    layer = BatchNorm(channels, dtype=dtype, param_dtype=param_dtype, rngs=nnx.Rngs(0))
    for name, row in rows.items():
        getattr(layer, name).set_value(jnp.asarray(row, param_dtype))
    return layer, rows


@pytest.mark.usefixtures("float64")
def test_evaluation_normalizes_with_the_stored_statistics():
    layer, rows = filled_batch_norm(5)
    layer.eval()
    x = np.random.RandomState(1).standard_normal((2, 3, 4, 5))
    expected = (x - rows["mean"]) / np.sqrt(rows["var"] + 1e-5) * rows["scale"] + rows["bias"]
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, rtol=1e-13)
    np.testing.assert_array_equal(layer.mean[...], rows["mean"])


@pytest.mark.usefixtures("float64")
def test_training_normalizes_with_the_batch_and_stores_the_unbiased_variance():
    layer, rows = filled_batch_norm(5)
    layer.train()
    x = np.random.RandomState(1).standard_normal((2, 3, 4, 5)) * 3 + 10
    flat = x.reshape(-1, 5)
    expected = (x - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) * rows["scale"] + rows["bias"]
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, rtol=1e-11)
    np.testing.assert_allclose(layer.mean[...], 0.9 * rows["mean"] + 0.1 * flat.mean(0), rtol=1e-13)
    np.testing.assert_allclose(layer.var[...], 0.9 * rows["var"] + 0.1 * flat.var(0, ddof=1), rtol=1e-13)


def test_statistics_survive_a_mean_far_from_zero_in_float32():
    layer, _ = filled_batch_norm(4, param_dtype=jnp.float32)
    layer.train()
    x = (np.random.RandomState(1).standard_normal((4, 8, 8, 4)) + 1000).astype(np.float32)
    before = layer.var[...]
    layer(jnp.asarray(x))
    variance = (np.asarray(layer.var[...]) - 0.9 * np.asarray(before)) / 0.1
    # E[x²] - E[x]² would be 5 % off here.
    np.testing.assert_allclose(variance, x.astype(np.float64).var((0, 1, 2), ddof=1), rtol=1e-4)


def test_bfloat16_rounds_the_result_only():
    layer, _ = filled_batch_norm(4, dtype=jnp.bfloat16, param_dtype=jnp.float32)
    exact, _ = filled_batch_norm(4, param_dtype=jnp.float32)
    for each in (layer, exact):
        each.eval()
        each.mean.set_value(jnp.full(4, 10.03))
        each.var.set_value(jnp.full(4, 1e-3))
    x = jnp.full((1, 1, 1, 4), 10.0625, jnp.bfloat16)
    result = layer(x)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_array_equal(result, exact(x.astype(jnp.float32)).astype(jnp.bfloat16))
    assert layer.mean.dtype == layer.var.dtype == jnp.float32


def test_training_on_one_value_per_channel_is_refused():
    layer, _ = filled_batch_norm(4, param_dtype=jnp.float32)
    layer.train()
    with pytest.raises(
        ValueError, match=r"more than one value per channel in training, got maps of shape \(1, 1, 1, 4\)"
    ):
        layer(jnp.ones((1, 1, 1, 4)))


def test_a_view_in_evaluation_mode_leaves_the_layer_as_it_is():
    layer, _ = filled_batch_norm(4, param_dtype=jnp.float32)
    layer.train()
    view = nnx.view(layer, use_running_average=True)
    assert view.use_running_average is True
    assert layer.use_running_average is False


def test_backbone_kernels_are_kaiming_normal_over_the_outputs():
    kernel = conv(64, 128, 3, rngs=nnx.Rngs(0)).kernel[...]
    assert float(kernel.std()) == pytest.approx(np.sqrt(2 / (128 * 9)), rel=0.01)
    assert float(jnp.abs(kernel).max()) > 3.5 * np.sqrt(2 / (128 * 9))  # not truncated


def test_head_kernels_and_biases_are_torchs_uniform():
    layer = conv(64, 4096, 1, kernel_init=TORCH_CONV, bias_init=torch_conv_bias(64), rngs=nnx.Rngs(0))
    for values in (layer.kernel[...], layer.bias[...]):
        assert float(values.min()) == pytest.approx(-1 / 8, rel=0.01)
        assert float(values.max()) == pytest.approx(1 / 8, rel=0.01)
        assert float(values.std()) == pytest.approx(1 / 8 / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(7, 2, 3, 1), (3, 2, 1, 1), (3, 1, 4, 4), (1, 2, 0, 1)]
)
@pytest.mark.usefixtures("float64")
def test_convolution_equals_the_definition(kernel, stride, padding, dilation):
    layer = conv(
        2,
        3,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    x = np.random.RandomState(0).standard_normal((2, 12, 9, 2))
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    reach = dilation * (kernel - 1) + 1
    height, width = ((n + 2 * padding - reach) // stride + 1 for n in (12, 9))
    expected = np.zeros((2, height, width, 3))
    weights = np.asarray(layer.kernel[...])
    for row in range(height):
        for column in range(width):
            window = padded[:, row * stride :, column * stride :][:, :reach:dilation, :reach:dilation]
            expected[:, row, column] = np.einsum("nhwi,hwio->no", window, weights)
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, rtol=0, atol=1e-13)
    assert jax.eval_shape(layer, jnp.asarray(x)).shape == expected.shape
