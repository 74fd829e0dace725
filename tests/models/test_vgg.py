"""The VGG16 backbone: published sizes, coordinates and distributions."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.models.grid import Grid
from fcn_jax.models.vgg import VGG16
from tests.models.drawn import drawn
from tests.seeded import seeded_images


def parameters(module) -> int:
    return sum(math.prod(p.shape) for p in jax.tree.leaves(nnx.state(module, nnx.Param)))


def maps_of(model, height: int, width: int, batch: int = 1):
    images = jax.ShapeDtypeStruct((batch, height, width, 3), jnp.float32)
    return nnx.eval_shape(lambda model, images: model(images), model, images)


@pytest.fixture(scope="module")
def published() -> VGG16:
    model = nnx.eval_shape(lambda: VGG16(rngs=nnx.Rngs(0)))
    model.eval()
    return model


def test_parameter_counts_are_the_published_ones(published):
    fc6, fc7 = parameters(published.fc6), parameters(published.fc7)
    assert (fc6, fc7) == (102_764_544, 16_781_312)
    assert parameters(published) - fc6 - fc7 == 14_714_688


@pytest.mark.parametrize(
    ("size", "pool3", "pool4", "fc7"),
    [(500, 88, 44, 16), (375, 72, 36, 12), (224, 53, 27, 8), (1, 25, 13, 1)],
)
def test_sizes_are_the_published_ones(published, size, pool3, pool4, fc7):
    maps = maps_of(published, size, 375, batch=2)
    assert {name: x.values.shape for name, x in maps.items()} == {
        "pool3": (2, pool3, 72, 256),
        "pool4": (2, pool4, 36, 512),
        "fc7": (2, fc7, 12, 4096),
    }


def test_coordinates_are_the_published_ones(published):
    grids = {name: x.grid for name, x in maps_of(published, 33, 47).items()}
    assert grids == {
        "pool3": Grid(Fraction(8), Fraction(-95.5)),
        "pool4": Grid(Fraction(16), Fraction(-91.5)),
        "fc7": Grid(Fraction(32), Fraction(12.5)),
    }


def test_widths_are_parameters():
    model = nnx.eval_shape(lambda: VGG16((2, 3, 4, 5, 6), 7, rngs=nnx.Rngs(0)))
    widths = {name: x.values.shape[-1] for name, x in maps_of(model, 1, 1).items()}
    assert widths == {"pool3": 4, "pool4": 5, "fc7": 7}
    assert {name: model.channels(name) for name in widths} == widths
    assert model.conv5_1.kernel.shape == (3, 3, 5, 6)
    with pytest.raises(ValueError, match=r"widths of 5 blocks, got \(2, 3\)"):
        VGG16((2, 3), rngs=nnx.Rngs(0))


@pytest.mark.slow
def test_random_weights_follow_torchvisions_distributions():
    @jax.jit
    def some_layers():
        model = VGG16((16, 16, 16, 16, 64), 96, rngs=nnx.Rngs(0))
        return [(x.kernel[...], x.bias[...]) for x in (model.conv5_1, model.fc6, model.fc7)]

    for (kernel, bias), deviation in zip(some_layers(), (math.sqrt(2 / (9 * 64)), 0.01, 0.01), strict=True):
        assert float(kernel.std()) == pytest.approx(deviation, rel=0.03)
        assert float(jnp.abs(kernel).max()) > 3 * deviation  # not truncated
        assert not bias.any()


def test_dropout_acts_in_training_only_and_unit_by_unit():
    model = drawn(lambda: VGG16((2, 2, 2, 2, 2), 2000, rngs=nnx.Rngs(0)))
    for layer in (model.fc6, model.fc7):
        layer.bias.set_value(jnp.ones_like(layer.bias[...]))
    model.fc7.kernel.set_value(jnp.zeros_like(model.fc7.kernel[...]))
    images = jnp.ones((1, 27, 1, 3))
    np.testing.assert_array_equal(model(images)["fc7"].values, 1)
    model.train()
    values = np.asarray(model(images)["fc7"].values)
    assert values.shape == (1, 2, 1, 2000)
    assert set(np.unique(values)) == {0.0, 2.0}
    assert values.mean() == pytest.approx(1, abs=0.1)
    assert (values[0, 0] != values[0, 1]).any()  # whole channels are not dropped


def test_maps_are_rectified():
    model = drawn(lambda: VGG16((2, 3, 4, 5, 6), 20, rngs=nnx.Rngs(0)))
    images = jnp.asarray(seeded_images(1, 40, 40), jnp.float32)
    for x in jax.jit(lambda model, images: model(images))(model, images).values():
        assert float(x.values.min()) == 0.0 < float(x.values.max())
