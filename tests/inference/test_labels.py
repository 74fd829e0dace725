"""Resizing and labels against a definition in NumPy, written pixel by pixel."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.inference import labels as module
from fcn_jax.inference.foreign import WholeLogits
from fcn_jax.inference.labels import (
    View,
    bands,
    compute_labels,
    find_labels,
    find_probability,
    first_largest,
)
from fcn_jax.models.extent import Extent
from fcn_jax.models.grid import FeatureMap, Grid
from fcn_jax.models.upsampling import BilinearUpsampler, TransposedUpsampler, resize_bilinear

SIZES = [((5, 7), (33, 47)), ((33, 47), (5, 7)), ((9, 4), (9, 4)), ((1, 1), (3, 5)), ((6, 5), (1, 40))]


def reference_softmax(logits, size, align_corners=False):
    """Bilinear with half-pixel centres and clamped borders or aligned corners, then softmax, float64."""
    resized = np.empty((*size, logits.shape[2]))
    for y in range(size[0]):
        for x in range(size[1]):
            total = 0
            v = max((y + 0.5) * logits.shape[0] / size[0] - 0.5, 0)
            u = max((x + 0.5) * logits.shape[1] / size[1] - 0.5, 0)
            if align_corners:
                v = y * (logits.shape[0] - 1) / max(size[0] - 1, 1)
                u = x * (logits.shape[1] - 1) / max(size[1] - 1, 1)
            for row, p in ((int(v), 1 - v % 1), (int(v) + 1, v % 1)):
                for column, q in ((int(u), 1 - u % 1), (int(u) + 1, u % 1)):
                    row, column = min(row, logits.shape[0] - 1), min(column, logits.shape[1] - 1)
                    total = total + p * q * logits[row, column].astype(np.float64)
            resized[y, x] = total
    shifted = np.exp(resized - resized.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def random_logits(height, width, classes=6):
    return 3 * np.random.default_rng(0).standard_normal((height, width, classes)).astype(np.float32)


def view_of(logits, **settings) -> View:
    return View(jnp.asarray(logits)[None], WholeLogits(), logits.shape[:2], **settings)


@pytest.mark.parametrize(("model_size", "size"), SIZES)
@pytest.mark.parametrize("block", [1, 16, 256])
def test_against_the_definition(monkeypatch, model_size, size, block):
    monkeypatch.setattr(module, "BLOCK", block)
    logits = random_logits(*model_size)
    expected = reference_softmax(logits, size)
    labels, confidence = find_labels([view_of(logits)], size)
    assert (labels.dtype, confidence.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(labels, expected.argmax(-1))  # no ties closer than float32 in these logits
    np.testing.assert_allclose(confidence, expected.max(-1), rtol=2e-6)
    for index in (0, 5):
        share = find_probability([view_of(logits)], index, size)
        assert share.dtype == np.float32
        np.testing.assert_allclose(share, expected[..., index], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("height", [1, 8, 101])
@pytest.mark.parametrize("band_values", [1, 8 * 37 * 6, 2**24])
def test_bands_hold_every_row_and_have_one_height(monkeypatch, height, band_values):
    monkeypatch.setattr(module, "BAND_VALUES", band_values)
    count, starts = bands((height, 37), 6)
    assert count == min(height, {1: 1, 8 * 37 * 6: 8, 2**24: height}[band_values])
    assert {row for start in starts for row in range(start, start + count)} == set(range(height))
    assert len(starts) == -(-height // count)
    assert bands((height, 37), 6, images=8)[0] <= count


def test_blocks_agree_with_the_whole(monkeypatch):
    views, size = [view_of(random_logits(13, 11)), view_of(random_logits(7, 5), mirrored=True)], (101, 37)
    whole, shares = find_labels(views, size), find_probability(views, 3, size)
    monkeypatch.setattr(module, "BLOCK", 16)  # 7 rows of 3 blocks, the last of them cut
    parts = find_labels(views, size)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-6)
    np.testing.assert_allclose(find_probability(views, 3, size), shares, rtol=1e-6)


def upsamplers():
    """Each upsampler, coarse logits for it that lie in a larger buffer of NaN, and the image's logits."""
    random, size = np.random.RandomState(0), (41, 67)
    coarse = random.standard_normal((1, 6, 9, 3)).astype(np.float32)
    buffer = np.full((1, 16, 16, 3), np.nan, np.float32)
    buffer[:, :6, :9] = coarse
    yield BilinearUpsampler(stride=8), buffer, resize_bilinear(jnp.asarray(coarse), size)[0]
    aligned = resize_bilinear(jnp.asarray(coarse), size, align_corners=True)[0]
    yield BilinearUpsampler(stride=8, align_corners=True), buffer, aligned
    kernel = jnp.asarray(random.standard_normal((16, 16, 3, 3)), jnp.float32)
    for extent in (Extent(), Extent(jnp.array([[6, 9]]))):
        grid = Grid(Fraction(8), Fraction(-7, 2))
        whole = TransposedUpsampler(kernel, 8).rows(FeatureMap(jnp.asarray(coarse), grid), size, 0, 41)
        inside = buffer if extent.sizes is not None else np.nan_to_num(buffer)
        yield TransposedUpsampler(kernel, 8), FeatureMap(jnp.asarray(inside), grid, extent), whole[0]


@pytest.mark.parametrize("size", [(41, 67), (20, 30), (90, 70), (1, 300)])
@pytest.mark.parametrize("block", [16, 256])
def test_blocks_of_every_upsampler(monkeypatch, size, block):
    """Upright and transposed, mirrored or not, at the size of the images, smaller and larger."""
    monkeypatch.setattr(module, "BLOCK", block)
    for upsampler, coarse, logits in upsamplers():
        aligned = getattr(upsampler, "align_corners", False)
        expected = reference_softmax(np.asarray(logits), size, aligned)
        view = View(coarse, upsampler, (41, 67))
        np.testing.assert_allclose(view.logits(), logits, atol=1e-5)
        np.testing.assert_allclose(find_labels([view], size)[1], expected.max(-1), rtol=2e-5)
        for index in range(3):
            found = find_probability([view], index, size)
            np.testing.assert_allclose(found, expected[..., index], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_transposed_view_gives_the_upright_result(mirrored):
    logits = random_logits(13, 11)
    seen = logits[:, ::-1] if mirrored else logits
    upright = view_of(seen, mirrored=mirrored)
    transposed = View(
        jnp.asarray(seen.swapaxes(0, 1))[None], WholeLogits(), (13, 11), mirrored, transposed=True
    )
    np.testing.assert_array_equal(transposed.logits(), upright.logits())
    for size in ((13, 11), (40, 23)):
        for one, other in zip(find_labels([transposed], size), find_labels([upright], size), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_pictures_of_many_sizes_share_a_program():
    coarse = jnp.asarray(random_logits(16, 16))[None]
    before = module._decide._cache_size()
    for height in range(3, 120, 5):
        find_labels([View(coarse, BilinearUpsampler(stride=8), (height, 100))], (2 * height, 300 - height))
    assert module._decide._cache_size() == before + 1


@pytest.mark.parametrize("band_values", [1, 1000, 2700, 2**24])  # bands of 1 row, 1, 4 and all 41
def test_labels_in_a_compiled_function(monkeypatch, band_values):
    monkeypatch.setattr(module, "BAND_VALUES", band_values)
    coarse, size = jnp.stack([random_logits(6, 9), -random_logits(6, 9)]), (41, 47)
    for upsampler, expected in (
        (BilinearUpsampler(stride=8), resize_bilinear(coarse, size).argmax(-1)),
        (WholeLogits(), coarse.argmax(-1)),
    ):
        labels = jax.jit(lambda coarse, upsampler=upsampler: compute_labels(upsampler, coarse, size))(coarse)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_the_first_class_of_the_largest_value(axis):
    values = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.float32)  # full of ties
    labels, largest = first_largest(jnp.asarray(values), axis)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, values.argmax(axis))
    np.testing.assert_array_equal(largest, values.max(axis))


def test_a_mirrored_view_is_mirrored_back():
    logits = random_logits(6, 5)
    plain, mirrored = view_of(logits), view_of(logits[:, ::-1], mirrored=True)
    np.testing.assert_array_equal(mirrored.logits(), plain.logits())
    for size in ((11, 14), (3, 2)):
        expected = find_labels([plain], size)
        for result, values in zip(find_labels([mirrored], size), expected, strict=True):
            np.testing.assert_allclose(result, values, rtol=1e-6)


def test_equal_logits_go_to_the_first_class():
    labels, confidence = find_labels([view_of(jnp.zeros((2, 2, 5)))], (3, 3))
    assert not labels.any()
    np.testing.assert_allclose(confidence, 0.2)


def test_large_logits_do_not_overflow():
    labels, confidence = find_labels([view_of(jnp.asarray([[[1e30, -1e30], [-1e30, 1e30]]]))], (1, 2))
    np.testing.assert_array_equal(labels, [[0, 1]])
    np.testing.assert_array_equal(confidence, [[1, 1]])


def test_256_classes_are_the_most():
    labels, _ = find_labels([view_of(np.eye(256, dtype=np.float32)[None])], (1, 256))
    np.testing.assert_array_equal(labels[0], np.arange(256))
    with pytest.raises(ValueError, match=r"at most 256 classes, .* got 257"):
        find_labels([view_of(jnp.zeros((1, 1, 257)))], (1, 1))
    with pytest.raises(ValueError, match=r"at most 256 classes, .* got 257"):
        compute_labels(WholeLogits(), jnp.zeros((1, 1, 1, 257)), (1, 1))


def test_a_band_of_a_huge_picture_stays_small():
    """The compiled labels of 10,000 x 10,000 with 21 classes need some multiples of 64 MiB, not 8 GiB."""
    assert bands((10_000, 10_000), 21)[0] * 10_000 * 21 <= 2**24
    coarse = jax.ShapeDtypeStruct((1, 520, 520, 21), jnp.float32)
    labels = jax.jit(lambda coarse: compute_labels(BilinearUpsampler(stride=8), coarse, (10_000, 10_000)))
    memory = labels.lower(coarse).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 700 * 2**20
