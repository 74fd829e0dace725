"""A cache that decodes once, keeps to its bound, and gives what the dataset gives."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fcn_jax.datasets import Cached, Scenes

SIZE = (9, 7)
BYTES = 9 * 7 * 4  # of a picture and its labels


class Counted(Scenes):
    """Scenes that count how often each was drawn."""

    def __init__(self, count):
        super().__init__(count, SIZE)
        self.asked = [0] * count

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        self.asked[index] += 1
        return sample


def test_each_picture_is_decoded_once():
    dataset = Counted(3)
    cached = Cached(dataset)
    for _ in range(3):
        for index in range(3):
            for ours, theirs in zip(cached[index], Scenes(3, SIZE)[index], strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert dataset.asked == [1, 1, 1]
    assert cached[np.int64(2)] is cached[2]
    assert (len(cached), cached.name(1), cached.categories) == (3, "scene_1", dataset.categories)
    assert (cached.ignore_label, cached.palette is dataset.palette) == (255, True)


@pytest.mark.parametrize(("bound", "kept"), [(0, 0), (BYTES - 1, 0), (BYTES, 1), (2 * BYTES + 1, 2)])
def test_the_bound_holds(bound, kept):
    dataset = Counted(3)
    cached = Cached(dataset, max_bytes=bound)
    for _ in range(4):
        list(cached)
    assert dataset.asked == [1] * kept + [4] * (3 - kept)


def test_what_is_kept_cannot_be_changed():
    cached = Cached(Scenes(1, SIZE))
    for array in cached[0]:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_pickled_copy_starts_empty():
    cached = Cached(Counted(2))
    empty = len(pickle.dumps(cached))
    cached[0]
    assert len(pickle.dumps(cached)) == empty
    copy = pickle.loads(pickle.dumps(cached))
    np.testing.assert_array_equal(copy[0].image, cached[0].image)
    assert copy.dataset.asked == [2, 0]


class Together(Counted):
    """Scenes that eight threads get at one moment."""

    def __init__(self):
        super().__init__(8)
        self.ready = threading.Barrier(8)

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        self.ready.wait(10)
        return sample


@pytest.mark.parametrize(("asked", "kept"), [(range(8), 2), ([3] * 8, 1)])
def test_threads_may_share_it(asked, kept):
    """Memory for two pictures, and eight threads that would fill it at one moment."""
    cached = Cached(Together(), max_bytes=2 * BYTES)
    with ThreadPoolExecutor(8) as pool:
        samples = list(pool.map(cached.__getitem__, asked))
    for index, sample in zip(asked, samples, strict=True):
        np.testing.assert_array_equal(sample.image, Scenes(8, SIZE)[index].image)
    assert (len(cached._kept), cached._bytes) == (kept, kept * BYTES)


def test_an_index_outside_is_an_error():
    for index in (-1, 2):
        with pytest.raises(IndexError, match="a picture's index"):
            Cached(Scenes(2, SIZE))[index]
