"""The CaffeNet backbone: published sizes, coordinates and order of layers; grouped convolution."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.models.alexnet import AlexNet
from fcn_jax.models.grid import Grid
from fcn_jax.models.layers import conv
from tests.models.drawn import drawn


@pytest.fixture(scope="module")
def published() -> AlexNet:
    model = nnx.eval_shape(lambda: AlexNet(rngs=nnx.Rngs(0)))
    model.eval()
    return model


def test_shapes_of_kernels_are_the_published_ones(published):
    shapes = {name: getattr(published, name).kernel.shape for name in ("conv1", "conv2", "conv3", "conv4")}
    assert shapes == {
        "conv1": (11, 11, 3, 96),
        "conv2": (5, 5, 48, 256),
        "conv3": (3, 3, 256, 384),
        "conv4": (3, 3, 192, 384),
    }
    assert published.conv5.kernel.shape == (3, 3, 192, 256)
    assert published.fc6.kernel.shape == (6, 6, 256, 4096)
    assert published.channels("fc7") == 4096


@pytest.mark.parametrize(("size", "fc7"), [(500, 16), (375, 12), (224, 8), (1, 1)])
def test_sizes_and_coordinates_are_the_published_ones(published, size, fc7):
    images = jax.ShapeDtypeStruct((2, size, 375, 3), jnp.float32)
    maps = nnx.eval_shape(lambda model, images: model(images), published, images)
    assert maps["fc7"].values.shape == (2, fc7, 12, 4096)
    assert maps["fc7"].grid == Grid(Fraction(32), Fraction(13))


@pytest.mark.parametrize("features", [(2, 4, 6, 8), (2, 4, 6, 8, 9)])
def test_five_even_widths_are_wanted(features):
    with pytest.raises(ValueError, match="expected five even widths"):
        AlexNet(features, rngs=nnx.Rngs(0))


def normalized(x):
    padded = np.pad(x**2, [(0, 0)] * 3 + [(2, 2)])
    return x / (1 + 1e-4 / 5 * sum(padded[..., i : i + x.shape[-1]] for i in range(5))) ** 0.75


def pooled(x):
    rows, columns = (int(np.ceil((n - 3) / 2)) + 1 for n in x.shape[1:3])
    result = np.empty((1, rows, columns, x.shape[-1]))
    for row, column in np.ndindex(rows, columns):
        result[:, row, column] = x[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].max((1, 2))
    return result


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_pooling_comes_before_normalization():
    model = drawn(lambda: AlexNet((2, 4, 6, 8, 10), 6, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))
    images = np.random.RandomState(0).standard_normal((1, 9, 14, 3)) * 300

    def relu_of(layer, x):
        return np.maximum(np.asarray(layer(jnp.asarray(x))), 0)

    x = normalized(pooled(relu_of(model.conv1, images)))
    x = normalized(pooled(relu_of(model.conv2, x)))
    x = relu_of(model.conv5, relu_of(model.conv4, relu_of(model.conv3, x)))
    expected = relu_of(model.fc7, relu_of(model.fc6, pooled(x)))
    got = jax.jit(lambda model, images: model(images))(model, images)["fc7"].values
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


@pytest.mark.usefixtures("float64")
def test_a_group_of_outputs_reads_its_contiguous_part_of_the_inputs():
    layer = conv(6, 8, 3, padding=1, groups=2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    kernel = layer.kernel[...]
    assert kernel.shape == (3, 3, 3, 8)
    x = jnp.asarray(np.random.RandomState(0).standard_normal((2, 5, 4, 6)))
    halves = [
        jax.lax.conv_general_dilated(
            x[..., 3 * g : 3 * g + 3],
            kernel[..., 4 * g : 4 * g + 4],
            (1, 1),
            [(1, 1), (1, 1)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        for g in (0, 1)
    ]
    np.testing.assert_allclose(layer(x), jnp.concatenate(halves, -1), rtol=0, atol=1e-13)
