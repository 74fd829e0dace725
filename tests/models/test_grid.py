"""Grids composed by hand give the published coordinates; crops."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.models.grid import FeatureMap, Grid, crop


def grid(stride, offset) -> Grid:
    return Grid(Fraction(stride), Fraction(offset))


def test_the_coordinates_of_vgg16_are_the_published_ones():
    conv1 = Grid().conv(3, padding=100).conv(3, padding=1)
    pools = [conv1.conv(2, 2)]
    for count in (2, 3, 3, 3):
        x = pools[-1]
        for _ in range(count):
            x = x.conv(3, padding=1)
        pools.append(x.conv(2, 2))
    assert conv1 == grid(1, -99)
    assert pools == [grid(2, -98.5), grid(4, -97.5), grid(8, -95.5), grid(16, -91.5), grid(32, -83.5)]
    score = pools[4].conv(7).conv(1)
    assert score == grid(32, 12.5)
    assert score.deconv(64, 32) == grid(1, -19)
    upscore2 = score.deconv(4, 2)
    assert upscore2 == grid(16, -11.5)
    assert upscore2.deconv(32, 16) == grid(1, -27)
    upscore_pool4 = upscore2.deconv(4, 2)
    assert upscore_pool4 == grid(8, -23.5)
    assert upscore_pool4.deconv(16, 8) == grid(1, -31)
    assert pools[3].index_of(upscore2) == 5
    assert pools[2].index_of(upscore_pool4) == 9


def test_the_coordinates_of_alexnet_are_the_published_ones():
    conv1 = Grid().conv(11, 4, 100)
    pool2 = conv1.conv(3, 2).conv(5, padding=2).conv(3, 2)
    score = pool2.conv(3, padding=1).conv(3, 2).conv(6).conv(1)
    assert (conv1, conv1.conv(3, 2), pool2) == (grid(4, -95), grid(8, -91), grid(16, -83))
    assert score == grid(32, 13)
    assert score.deconv(63, 32) == grid(1, -18)
    with pytest.raises(ValueError, match="expected grids whole steps apart, got 37/2"):
        score.deconv(64, 32).index_of(Grid())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 3), (1, 2)])
def test_a_deconvolution_undoes_the_convolution_of_its_settings(kernel, stride):
    start = grid(4, 2.5)
    there = start.conv(kernel, stride)
    assert there != start
    assert there.deconv(kernel, stride) == start


def test_a_convolution_reads_around_the_coordinate_that_the_grid_says():
    ramp = jnp.arange(40.0)[None, :, None, None]  # each pixel holds its own coordinate
    mean = jax.lax.conv_general_dilated(
        ramp,
        jnp.full((4, 1, 1, 1), 0.25),
        (3, 1),
        "VALID",
        rhs_dilation=(2, 1),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    ).ravel()
    after = Grid().conv(4, stride=3, dilation=2)
    np.testing.assert_allclose(mean, [float(after.stride * t + after.offset) for t in range(len(mean))])


def test_grids_of_two_strides_do_not_align():
    with pytest.raises(ValueError, match="expected grids of one stride, got 8 and 16"):
        grid(8, 0).index_of(grid(16, 0))


def test_a_crop_starts_at_the_offset_and_is_no_centre_crop():
    x = jnp.arange(7 * 9).reshape(1, 7, 9, 1)
    np.testing.assert_array_equal(crop(x, 1, (3, 4))[0, :, :, 0], x[0, 1:4, 1:5, 0])
    assert crop(x, 0, (7, 9)).shape == x.shape


@pytest.mark.parametrize(("offset", "size"), [(-1, (3, 3)), (5, (3, 3)), (1, (6, 9))])
def test_a_crop_stays_inside(offset, size):
    with pytest.raises(ValueError, match=rf"inside a map of \(7, 9\), got .* from {offset}"):
        crop(jnp.ones((1, 7, 9, 1)), offset, size)


def test_a_map_is_cropped_to_where_the_other_lies():
    x = FeatureMap(jnp.arange(100.0).reshape(1, 10, 10, 1), grid(2, -5))
    other = FeatureMap(jnp.zeros((1, 3, 4, 7)), grid(2, 1))
    cropped = x.crop_to(other)
    assert cropped.grid == other.grid
    np.testing.assert_array_equal(cropped.values, x.values[:, 3:6, 3:7])


def test_maps_are_added_on_one_grid_only():
    one, other = (FeatureMap(jnp.ones((1, 2, 3, 1)), grid(2, offset)) for offset in (0, 2))
    np.testing.assert_array_equal(one.add(one).values, 2)
    with pytest.raises(ValueError, match="expected maps of one grid and shape"):
        one.add(other)
    with pytest.raises(ValueError, match="expected maps of one grid and shape"):
        one.add(FeatureMap(jnp.ones((1, 1, 1, 1)), one.grid))


def test_grids_pass_through_jit():
    pooled = jax.jit(lambda x: x.max_pool(2, 2))(FeatureMap(jnp.ones((1, 5, 5, 1))))
    assert pooled.grid == grid(2, 0.5)
