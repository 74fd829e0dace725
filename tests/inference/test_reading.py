"""Reading ahead: in order, bounded, and over when the reader stops; and what a stream does with failures."""

import threading
import time

import numpy as np
import pytest

from fcn_jax import Segmenter
from fcn_jax.images import ImageError
from fcn_jax.inference.reading import read_ahead
from tests.inference.tiny import TinyFCN, picture


def test_results_come_in_order_and_errors_with_them():
    def read(number):
        time.sleep(0.01 * (number % 3 == 0))
        return 10 // number

    futures = list(read_ahead(read, [3, 2, 0, 1], most=2))
    assert [futures[place].result() for place in (0, 1, 3)] == [3, 5, 10]
    assert isinstance(futures[2].exception(), ZeroDivisionError)


def test_few_results_wait():
    asked = []

    def sources():
        for number in range(100):
            asked.append(number)
            yield number

    reads = read_ahead(str, sources(), most=3)
    assert next(reads).result() == "0"
    assert len(asked) == 4
    reads.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fcn_jax reader")]


@pytest.fixture
def sources(tmp_path):
    """Pictures of three sizes; the second and the last cannot be read."""
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no")
    return [picture(40, 30), bad, picture(30, 50), picture(44, 33), tmp_path / "missing.png"]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_picture_that_fails_leaves_the_others_alone(sources, batch_size):
    failed = []
    segmenter = Segmenter(TinyFCN(), batch_size=batch_size)
    results = list(segmenter.stream(sources, on_error=lambda *each: failed.append(each)))
    assert [source for source, _ in failed] == [sources[1], sources[4]]
    assert [error.path for _, error in failed] == [str(sources[1]), str(sources[4])]
    assert [result.image.size for result in results] == [(40, 30), (30, 50), (44, 33)]
    for result, image in zip(results, (sources[0], sources[2], sources[3]), strict=True):
        np.testing.assert_array_equal(np.asarray(result.image), np.asarray(image))
        np.testing.assert_allclose(result.confidence, segmenter(image).confidence, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_without_a_handler_a_failure_ends_the_stream_in_its_turn(sources, batch_size):
    stream = Segmenter(TinyFCN(), batch_size=batch_size).stream(sources)
    assert next(stream).image.size == (40, 30)
    with pytest.raises(ImageError, match=r"bad\.png"):
        next(stream)


def test_a_batch_size_of_none_or_more():
    with pytest.raises(ValueError, match="batch_size: expected at least 1, or None, got 0"):
        Segmenter(TinyFCN(), batch_size=0)
