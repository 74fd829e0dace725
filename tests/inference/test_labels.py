"""Resizing and deciding against a definition in NumPy, written point by point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.inference import labels as module
from fcn_jax.inference.labels import finish, probability
from fcn_jax.inference.views import View

SIZES = [((5, 7), (33, 47)), ((33, 47), (5, 7)), ((9, 4), (9, 4)), ((1, 1), (3, 5)), ((6, 5), (1, 40))]


def reference_softmax(logits, size):
    """Bilinear with half-pixel centres and clamped borders, then softmax, float64."""
    resized = np.empty((*size, logits.shape[2]))
    for y in range(size[0]):
        for x in range(size[1]):
            total = 0
            v = max((y + 0.5) * logits.shape[0] / size[0] - 0.5, 0)
            u = max((x + 0.5) * logits.shape[1] / size[1] - 0.5, 0)
            for row, p in ((int(v), 1 - v % 1), (int(v) + 1, v % 1)):
                for column, q in ((int(u), 1 - u % 1), (int(u) + 1, u % 1)):
                    row, column = min(row, logits.shape[0] - 1), min(column, logits.shape[1] - 1)
                    total = total + p * q * logits[row, column].astype(np.float64)
            resized[y, x] = total
    shifted = np.exp(resized - resized.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def random_logits(height, width, classes=6):
    return 3 * np.random.default_rng(0).standard_normal((height, width, classes)).astype(np.float32)


@pytest.mark.parametrize(("model_size", "size"), SIZES)
@pytest.mark.parametrize("band_values", [1, 700, 12_000, 2**24])
def test_against_the_definition(monkeypatch, model_size, size, band_values):
    monkeypatch.setattr(module, "BAND_VALUES", band_values)
    logits = random_logits(*model_size)
    expected = reference_softmax(logits, size)
    labels, confidence = finish([View.of_logits(logits)], size)
    assert (labels.dtype, confidence.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(labels, expected.argmax(-1))  # no ties closer than float32 in these logits
    np.testing.assert_allclose(confidence, expected.max(-1), rtol=2e-6)
    for index in (0, 5):
        share = probability([View.of_logits(logits)], index, size)
        assert share.dtype == np.float32
        np.testing.assert_allclose(share, expected[..., index], rtol=1e-5, atol=1e-7)


def test_bands_agree_with_the_whole_and_compile_once(monkeypatch):
    logits, size = jnp.asarray(random_logits(13, 11)), (101, 37)
    whole = finish([View.of_logits(logits)], size)
    monkeypatch.setattr(module, "BAND_VALUES", 8 * 37 * 6)  # 12 bands of 8 rows and one moved up
    decide = module._decide
    decide.clear_cache()
    heights = []

    def recorded(logits, rows, columns):
        heights.append(len(rows[0]))
        return decide(logits, rows, columns)

    monkeypatch.setattr(module, "_decide", recorded)
    banded = finish([View.of_logits(logits)], size)
    assert heights == [8] * 13
    assert decide._cache_size() == 1
    np.testing.assert_array_equal(banded[0], whole[0])
    np.testing.assert_allclose(banded[1], whole[1], rtol=1e-6)


def test_equal_logits_go_to_the_first_class():
    labels, confidence = finish([View.of_logits(jnp.zeros((2, 2, 5)))], (3, 3))
    assert not labels.any()
    np.testing.assert_allclose(confidence, 0.2)


def test_large_logits_do_not_overflow():
    labels, confidence = finish([View.of_logits(jnp.asarray([[[1e30, -1e30], [-1e30, 1e30]]]))], (1, 2))
    np.testing.assert_array_equal(labels, [[0, 1]])
    np.testing.assert_array_equal(confidence, [[1, 1]])


def test_256_classes_are_the_most():
    labels, _ = finish([View.of_logits(np.eye(256, dtype=np.float32)[None])], (1, 256))
    np.testing.assert_array_equal(labels[0], np.arange(256))
    with pytest.raises(ValueError, match=r"at most 256 classes, .* got 257"):
        finish([View.of_logits(jnp.zeros((1, 1, 257)))], (1, 1))


def test_a_band_of_a_huge_picture_stays_small():
    """The compiled band for 10,000 x 10,000 with 21 classes needs some multiples of 64 MiB, not 8 GiB."""
    size, classes = (10_000, 10_000), 21
    rows = module.BAND_VALUES // (size[1] * classes)

    def taps(length):
        index = jax.ShapeDtypeStruct((length,), jnp.int32)
        return index, index, jax.ShapeDtypeStruct((length,), jnp.float32)

    logits = jax.ShapeDtypeStruct((520, 520, classes), jnp.float32)
    memory = module._decide.lower(logits, taps(rows), taps(size[1])).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 400 * 2**20
