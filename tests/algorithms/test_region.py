"""The first blocks of VGG16 and AlexNet where the picture decides, against all of them, in float64."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.algorithms.choice import REGIONS, choose_for_inference
from fcn_jax.algorithms.region import Region
from fcn_jax.models.alexnet import AlexNet
from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.grid import FeatureMap
from fcn_jax.models.vgg import BORDER, VGG16
from tests.models.drawn import drawn
from tests.seeded import seeded_images

FEATURES = {VGG16: (4, 6, 8, 10, 12), AlexNet: (6, 8, 10, 12, 14)}
START = 9
"""Row and column at which the region's "pool3" starts: the first that an FCN reads."""


@pytest.fixture(scope="module", params=[VGG16, AlexNet])
def sides(request):
    """Both forms of narrow backbones with random biases of both signs: some constants are 0."""
    jax.config.update("jax_enable_x64", True)
    backbone = request.param
    settings = {"features": FEATURES[backbone], "fc_features": 8, "param_dtype": jnp.float64}
    whole = drawn(lambda: backbone(rngs=nnx.Rngs(0), **settings))
    for _, layer in nnx.iter_modules(whole):
        if isinstance(layer, nnx.Conv):
            signs = (-1.0) ** np.arange(layer.out_features)
            layer.bias.set_value(jnp.abs(layer.bias[...]) * signs)
    inner = nnx.merge(*nnx.split(whole))
    choose_for_inference(inner, "gpu")
    assert isinstance(inner.first_blocks, REGIONS[backbone])
    yield SimpleNamespace(whole=whole, inner=inner)
    jax.config.update("jax_enable_x64", False)


def maps(backbone, images, extent=EVERYTHING) -> dict[str, FeatureMap]:
    """The maps of the first blocks; AlexNet's only one is named "last"."""
    found = jax.jit(lambda images, extent: backbone.first_blocks(backbone, images, extent))(images, extent)
    return found if isinstance(found, dict) else {"last": found}


def check(sides, images, sizes=None) -> None:
    """Compares the maps of each picture; what no FCN reads of pool3 is left out."""
    extent = EVERYTHING if sizes is None else Extent(np.array(sizes, np.int32))
    found, expected = (maps(each, images, extent) for each in (sides.inner, sides.whole))
    for name, part in found.items():
        whole, low = expected[name], START if name == "pool3" else 0
        assert part.grid.index_of(whole.grid) == -low
        if sizes is not None:
            np.testing.assert_array_equal(part.extent.sizes, whole.extent.sizes - low)
        for place in range(len(images)):
            size = images.shape[1:3] if sizes is None else sizes[place]
            if name == "pool3":
                rows, columns = ((length + START) // 8 + 4 for length in size)
            elif sizes is None:
                rows, columns = part.values.shape[1:3]
                assert (rows, columns) == whole.values.shape[1:3]
            else:
                rows, columns = (int(length) for length in whole.extent.sizes[place])
            one = part.values[place, :rows, :columns]
            other = whole.values[place, low : low + rows, low : low + columns]
            assert float(jnp.abs(one - other).max() / jnp.abs(other).max()) < 1e-12  # seen: 1e-15, 5e-16


@pytest.mark.parametrize("size", [(1, 1), (39, 21)])
def test_the_region_and_what_lies_around_it_are_the_whole(sides, size):
    check(sides, seeded_images(2, *size))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 50), (33, 1), (97, 130)])
def test_other_sizes(sides, size):
    check(sides, seeded_images(2, *size))


def test_every_remainder_of_the_size(sides):
    """Sixteen heights with sixteen widths, of one program, each beside its own plain one; the rest is NaN."""
    sizes = [(16 + row, 31 - row) for row in range(16)]
    buffer = np.full((16, 32, 32, 3), np.nan)
    for image, (height, width) in zip(buffer, sizes, strict=True):
        image[:height, :width] = seeded_images(1, height, width)[0]
    check(sides, buffer, sizes)


def test_gradients_are_those_of_the_whole(sides):
    """The constant and the frame are functions of the weights too, so training can use the region."""
    images = seeded_images(2, 33, 21)

    def gradients(backbone):
        graph, params, rest = nnx.split(backbone, nnx.Param, ...)

        def total(params):
            merged = nnx.merge(graph, params, rest)
            found = merged.first_blocks(merged, images, EVERYTHING)
            last = found if isinstance(found, FeatureMap) else found["pool4"]
            return (last.values * np.cos(np.arange(last.values.size)).reshape(last.values.shape)).sum()

        return jax.jit(jax.grad(total))(params)

    found, expected = (dict(nnx.to_flat_state(gradients(each))) for each in (sides.inner, sides.whole))
    for name, one in expected.items():
        largest = float(jnp.abs(one[...]).max())
        assert float(jnp.abs(found[name][...] - one[...]).max()) <= 1e-12 * largest, name  # seen: 6e-15


def test_less_is_computed(sides):
    images = jax.ShapeDtypeStruct((1, 375, 500, 3), jnp.float64)

    def multiplications(backbone):
        """Those of all convolutions."""
        traced = jax.make_jaxpr(lambda images: backbone.first_blocks(backbone, images, EVERYTHING))(images)
        return sum(
            math.prod(each.outvars[0].aval.shape) * math.prod(each.invars[1].aval.shape[:3])
            for each in traced.eqns
            if each.primitive.name == "conv_general_dilated"
        )

    share = multiplications(sides.inner) / multiplications(sides.whole)
    assert 0.3 < share < 0.7  # seen: VGG16 0.57, AlexNet 0.56, with the black pictures


def test_black_maps_depend_on_the_remainders_only(sides):
    blocks = sides.inner.first_blocks
    sizes = np.array([(1, 1), (1, 7), (7, 1), (7, 7), (17, 23)], np.int32)
    black = blocks.black_maps(sides.inner, sizes)
    remainders = blocks.remainders(sizes)
    for one in range(5):
        for other in range(one):
            same = (remainders[one] == remainders[other]).all()
            assert same == bool((black[one] == black[other]).all())


def test_a_buffer_too_small_is_refused(sides):
    layer = getattr(sides.inner, sides.inner.first_blocks.first)
    region = Region.of(jnp.zeros((1, 8, 8, 3)), EVERYTHING, BORDER)
    with pytest.raises(ValueError, match="expected a buffer from "):
        region.widened(0, 4).conv(layer)
