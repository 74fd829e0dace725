"""The first blocks of VGG16 where the picture decides, against all of them, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.algorithms import region
from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.vgg import VGG16, first_blocks
from tests.models.drawn import drawn
from tests.seeded import seeded_images

START = 9
"""Row and column at which the region's "pool3" starts: the first that an FCN reads."""


@pytest.fixture(scope="module")
def vgg():
    """Both forms of one narrow VGG16 with random biases."""
    jax.config.update("jax_enable_x64", True)
    features = {"features": (4, 6, 8, 10, 12), "fc_features": 8, "param_dtype": jnp.float64}
    whole = drawn(lambda: VGG16(rngs=nnx.Rngs(0), **features))
    whole.eval()
    inner = nnx.merge(*nnx.split(whole))
    region.use_region(inner)
    yield whole, inner
    jax.config.update("jax_enable_x64", False)


def maps(vgg, images, extent=EVERYTHING):
    return jax.jit(lambda images, extent: vgg.first_blocks(vgg, images, extent))(images, extent)


def error(found, expected, places) -> float:
    """The largest error of both maps over the largest value; what no FCN reads of pool3 is left out."""
    pool3, pool4 = expected["pool3"].values, expected["pool4"].values
    read = [(length + START) // 8 + 4 for length in places]  # of pool3, from START on
    differences = (
        found["pool3"].values[:, : read[0], : read[1]]
        - pool3[:, START : START + read[0], START : START + read[1]],
        found["pool4"].values[:, : pool4.shape[1], : pool4.shape[2]] - pool4,
    )
    return float(max(jnp.abs(each).max() for each in differences) / jnp.abs(pool4).max())


@pytest.mark.parametrize("size", [(1, 1), (39, 21)])
def test_the_region_and_what_lies_around_it_are_the_whole(vgg, size):
    whole, inner = vgg
    images = seeded_images(2, *size)
    found, expected = maps(inner, images), maps(whole, images)
    assert error(found, expected, size) < 1e-12  # seen: 1e-15
    assert found["pool4"].grid == expected["pool4"].grid
    assert found["pool3"].grid.index_of(expected["pool3"].grid) == -START


def test_every_remainder_of_the_size(vgg):
    """Sixteen heights with sixteen widths, of one program, each beside its own plain one."""
    whole, inner = vgg
    sizes = [(16 + row, 31 - row) for row in range(16)]
    buffer = np.full((16, 32, 32, 3), np.nan)
    for image, (height, width) in zip(buffer, sizes, strict=True):
        image[:height, :width] = seeded_images(1, height, width)[0]
    found = maps(inner, buffer, Extent(np.array(sizes, np.int32)))
    plain = maps(whole, buffer, Extent(np.array(sizes, np.int32)))
    for place, (height, width) in enumerate(sizes):
        rows, columns = -(-(height + 198) // 16), -(-(width + 198) // 16)
        part = found["pool4"].values[place, :rows, :columns]
        expected = plain["pool4"].values[place, :rows, :columns]
        assert float(jnp.abs(part - expected).max() / jnp.abs(expected).max()) < 1e-12  # seen: 1e-15
    np.testing.assert_array_equal(found["pool4"].extent.sizes, plain["pool4"].extent.sizes)
    np.testing.assert_array_equal(found["pool3"].extent.sizes, plain["pool3"].extent.sizes - START)


def test_less_is_computed(vgg):
    whole, inner = vgg
    images = jax.ShapeDtypeStruct((1, 375, 500, 3), jnp.float64)

    def flops(vgg):
        compute = jax.jit(lambda images: vgg.first_blocks(vgg, images, EVERYTHING))
        return compute.lower(images).cost_analysis()["flops"]

    assert flops(inner) < 0.7 * flops(whole)  # seen: 0.66, with the black picture
    assert first_blocks is whole.first_blocks
