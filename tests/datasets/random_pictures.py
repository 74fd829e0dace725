"""A dataset of random pictures of many sizes, and generators that give the numbers they are told to."""

import numpy as np

from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, Sample


class RandomPictures:
    """Odd and oblong pictures of noise, each like no other; one may be `damaged`."""

    categories = ("background", "one", "two")
    ignore_label = IGNORE_LABEL
    palette = np.zeros((256, 3), np.uint8)

    def __init__(self, length, damaged=None):
        self.length = length
        self.damaged = damaged

    def __len__(self):
        return self.length

    def name(self, index):
        return f"noise_{index}"

    def __getitem__(self, index):
        if index == self.damaged:
            raise DatasetError(f"pictures/noise_{index}.png: cannot be read as a picture: it is noise")
        return random_sample(29 + 3 * (index % 5), 47 - 5 * (index % 4), seed=index)


def random_sample(height, width, seed=0):
    random = np.random.default_rng(seed)
    labels = random.choice(np.array([0, 1, 2, IGNORE_LABEL], np.uint8), (height, width))
    return Sample(random.integers(0, 256, (height, width, 3), dtype=np.uint8), labels)


class Told:
    """In place of a generator: `random()` gives these numbers, in this order, and no more."""

    def __init__(self, *numbers):
        self.left = list(numbers)

    def random(self):
        return self.left.pop(0)


def assert_same(ours, theirs):
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
        assert array.dtype == theirs[name].dtype == np.uint8
    assert ours.keys() == theirs.keys()
