"""The samplers against the definition of bilinear resizing, and against each other."""

import functools
import pickle
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.models.bilinear import MAX_SIDE, bilinear_rows_of_each, bilinear_taps
from fcn_jax.models.deconvolution import conv_transpose
from fcn_jax.models.extent import Extent
from fcn_jax.models.grid import FeatureMap, Grid
from fcn_jax.models.upsampling import (
    BilinearUpsampler,
    TransposedUpsampler,
    mix_transposed,
    resize_bilinear,
    resizing_lines,
)

SIZES = [
    ((5, 7), (33, 47)),
    ((33, 47), (5, 7)),
    ((1, 1), (4, 3)),
    ((6, 9), (1, 1)),
    ((4, 4), (4, 9)),
    ((3, 2), (3, 2)),
]


def resize_by_definition(image: np.ndarray, size: tuple[int, int], align_corners: bool = False) -> np.ndarray:
    h, w, channels = image.shape
    result = np.zeros((*size, channels))
    for row in range(size[0]):
        for column in range(size[1]):
            if align_corners:
                y = row * (h - 1) / max(size[0] - 1, 1)
                x = column * (w - 1) / max(size[1] - 1, 1)
            else:
                y = max((row + 0.5) * h / size[0] - 0.5, 0)
                x = max((column + 0.5) * w / size[1] - 0.5, 0)
            top, left = min(int(y), h - 1), min(int(x), w - 1)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            dy, dx = y - top, x - left
            upper = (1 - dx) * image[top, left] + dx * image[top, right]
            lower = (1 - dx) * image[bottom, left] + dx * image[bottom, right]
            result[row, column] = (1 - dy) * upper + dy * lower
    return result


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("size_in", "size_out"), SIZES)
@pytest.mark.usefixtures("float64")
def test_all_samplers_equal_the_definition(size_in, size_out, align_corners):
    maps = np.random.RandomState(0).standard_normal((2, *size_in, 3))
    expected = np.stack([resize_by_definition(image, size_out, align_corners) for image in maps])
    lines = [
        resizing_lines(*sizes, align_corners=align_corners) for sizes in zip(size_in, size_out, strict=True)
    ]
    for resized in (
        resize_bilinear(jnp.asarray(maps), size_out, align_corners=align_corners),
        BilinearUpsampler(8, align_corners).rows(jnp.asarray(maps), size_out, 0, size_out[0]),
        np.stack([mix_transposed(image, *lines).transpose(2, 0, 1) for image in jnp.asarray(maps)]),
    ):
        np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-14)  # seen: 9e-16


KERNELS = [  # kernel, stride, and the offset of the coarse logits, as the paper's networks have them
    (64, 32, 12.5),
    (32, 16, -11.5),
    (16, 8, -23.5),
    (63, 32, 13),
]


@pytest.mark.parametrize(("kernel", "stride", "offset"), KERNELS)
@pytest.mark.usefixtures("float64")
def test_rows_of_a_transposed_convolution_equal_rows_of_the_whole(kernel, stride, offset):
    random, size = np.random.RandomState(0), (41, 67)
    grid = Grid(Fraction(stride), Fraction(offset))
    crop = grid.deconv(kernel, stride).index_of(Grid())
    shape = [-(-(crop + edge - kernel) // stride) + 1 for edge in size]
    coarse = FeatureMap(jnp.asarray(random.standard_normal((2, *shape, 3))), grid)
    weights = jnp.asarray(random.standard_normal((kernel, kernel, 3, 3)))
    upsampler = TransposedUpsampler(weights, stride)
    whole = conv_transpose(coarse.values, weights, stride=stride)
    expected = whole[:, crop : crop + 41, crop : crop + 67]
    assert upsampler.size(coarse, size) == size
    np.testing.assert_array_equal(upsampler.rows(coarse, size, 0, 41), expected)
    rows = jax.jit(TransposedUpsampler.rows, static_argnums=(2, 4))
    for start in (0, 1, 17, 35):
        np.testing.assert_allclose(
            rows(upsampler, coarse, size, start, 6),
            expected[:, start : start + 6],
            rtol=0,
            atol=1e-12 * np.abs(expected).max(),  # seen: 4e-16
        )


@pytest.mark.parametrize(("kernel", "stride", "offset"), KERNELS)
@pytest.mark.usefixtures("float64")
def test_a_transposed_convolution_of_maps_of_several_sizes(kernel, stride, offset):
    random, grid = np.random.RandomState(0), Grid(Fraction(stride), Fraction(offset))
    crop = grid.deconv(kernel, stride).index_of(Grid())
    values, extents = random.standard_normal((2, 20, 20, 3)), np.array([(9, 13), (20, 20)], np.int32)
    alone = FeatureMap(jnp.asarray(values[:1, :9, :13]), grid)
    values[0, 9:], values[0, :, 13:] = np.nan, np.nan
    several = FeatureMap(jnp.asarray(values), grid, Extent(jnp.asarray(extents)))
    upsampler = TransposedUpsampler(jnp.asarray(random.standard_normal((kernel, kernel, 3, 3))), stride)
    size = tuple(n * stride + stride // 2 - crop for n in (9, 13))  # line n would reach it
    expected = upsampler.rows(alone, size, 0, size[0])
    found = upsampler.rows(several, (20 * stride - crop,) * 2, 0, 20 * stride - crop)
    np.testing.assert_allclose(found[:1, : size[0], : size[1]], expected, rtol=0, atol=1e-12)
    last = upsampler.rows(several, (20 * stride - crop,) * 2, size[0] - 5, 5)
    np.testing.assert_allclose(last[:1, :, : size[1]], expected[:, -5:], rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_rows_of_bilinear_resizing_equal_rows_of_the_whole():
    coarse, size = jnp.asarray(np.random.RandomState(0).standard_normal((2, 6, 9, 3))), (41, 67)
    expected = resize_bilinear(coarse, size)
    rows = jax.jit(BilinearUpsampler.rows, static_argnums=(2, 4))
    for start in (0, 1, 17, 35):
        np.testing.assert_allclose(
            rows(BilinearUpsampler(stride=8), coarse, size, start, 6),
            expected[:, start : start + 6],
            atol=1e-14,
        )


def test_upsamplers_can_be_pickled():
    assert pickle.loads(pickle.dumps(BilinearUpsampler(stride=8))) == BilinearUpsampler(stride=8)
    upsampler = TransposedUpsampler(jnp.arange(16.0).reshape(2, 2, 2, 2), 2)
    again = pickle.loads(pickle.dumps(upsampler))
    assert again.stride == 2
    np.testing.assert_array_equal(again.kernel, upsampler.kernel)


def test_computes_in_float32_for_half_precision_maps():
    maps = jnp.asarray(np.random.RandomState(0).standard_normal((1, 4, 5, 3)), jnp.bfloat16)
    resized = resize_bilinear(maps, (33, 47))
    assert resized.dtype == jnp.float32
    np.testing.assert_array_equal(resized, resize_bilinear(maps.astype(jnp.float32), (33, 47)))


def test_the_same_size_changes_nothing_but_the_dtype():
    maps = jnp.ones((1, 4, 5, 3), jnp.bfloat16)
    assert resize_bilinear(maps, (4, 5)).dtype == jnp.float32


@pytest.mark.usefixtures("float64")
def test_the_gradient_is_the_transpose():
    maps, cotangent = (
        np.random.RandomState(i).standard_normal(s) for i, s in enumerate([(1, 4, 6, 2), (1, 9, 5, 2)])
    )
    _, pullback = jax.vjp(lambda x: resize_bilinear(x, (9, 5)), jnp.asarray(maps))
    forward = np.vdot(resize_bilinear(jnp.asarray(maps), (9, 5)), cotangent)
    np.testing.assert_allclose(np.vdot(maps, pullback(jnp.asarray(cotangent))[0]), forward, rtol=1e-13)


@pytest.mark.parametrize(("size_in", "size_out"), [(1, 7), (7, 1), (65, 520), (520, 65), (9, 9)])
def test_the_taps_stay_inside(size_in, size_out):
    low, high, weight = bilinear_taps(size_in, size_out)
    assert low.shape == high.shape == weight.shape == (size_out,)
    assert (low >= 0).all()
    assert (high < size_in).all()
    assert ((weight >= 0) & (weight <= 1)).all()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size_in", [1, 4, 3999, MAX_SIDE])
@pytest.mark.parametrize("size_out", [1, 7, 4000, MAX_SIDE - 1, MAX_SIDE])
def test_taps_of_a_size_that_is_data_are_exact(size_in, size_out, align_corners):
    low, high, weight = traced_taps(size_in, size_out, align_corners)
    expected = bilinear_taps(size_in, size_out, align_corners=align_corners)
    np.testing.assert_array_equal(low[:size_out], expected[0])
    np.testing.assert_array_equal(high[:size_out], expected[1])
    np.testing.assert_allclose(weight[:size_out], expected[2], rtol=0, atol=2**-23)  # XLA takes reciprocals
    assert ((low >= 0) & (high < size_in)).all()  # beyond the last row too
    for row in {0, size_out // 3, size_out - 1}:
        place = max(Fraction((2 * row + 1) * size_in, 2 * size_out) - Fraction(1, 2), Fraction())
        if align_corners:
            place = Fraction(row * (size_in - 1), max(size_out - 1, 1))
        assert low[row] == place // 1
        assert abs(expected[2][row] - place % 1) < 1e-15


@functools.partial(jax.jit, static_argnums=2)
def traced_taps(size_in, size_out, align_corners):
    outputs = jnp.arange(MAX_SIDE)
    return bilinear_taps(size_in, size_out, outputs, jnp.float32, align_corners=align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.usefixtures("float64")
def test_rows_of_each_equal_rows_of_maps_alone(align_corners):
    coarse = np.random.RandomState(0).standard_normal((3, 6, 9, 4))
    lengths, sizes = np.array([(6, 9), (1, 5), (2, 1)]), np.array([(41, 67), (3, 40), (20, 2)])
    rows = jax.jit(
        functools.partial(bilinear_rows_of_each, align_corners=align_corners), static_argnums=(4, 5)
    )
    expected = np.zeros((3, 41, 67, 4))
    for image, x, (height, width), size in zip(expected, coarse, lengths, sizes, strict=True):
        coarse_alone = x[:height, :width].copy()
        x[height:], x[:, width:] = np.nan, np.nan  # nothing outside is read
        image[: size[0], : size[1]] = resize_by_definition(coarse_alone, size, align_corners)
    for start, count in ((0, 41), (7, 11)):
        found = np.asarray(rows(coarse, lengths.astype(np.int32), sizes.astype(np.int32), start, count, 67))
        for image, of_all, size in zip(found, expected, sizes, strict=True):
            inside = slice(0, max(size[0] - start, 0)), slice(0, size[1])
            np.testing.assert_allclose(
                image[inside], of_all[start : start + count][inside], rtol=0, atol=1e-14
            )


def test_unfit_maps_and_sizes_are_refused():
    with pytest.raises(ValueError, match=r"expected maps \(N, h, w, C\), got shape \(4, 5, 3\)"):
        resize_bilinear(jnp.ones((4, 5, 3)), (8, 10))
    with pytest.raises(ValueError, match=r"sizes of at least 1, got input \(4, 5\) and output \(0, 10\)"):
        resize_bilinear(jnp.ones((1, 4, 5, 3)), (0, 10))
