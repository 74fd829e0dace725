"""Crops that contain a chosen class: which pictures are drawn, where crops lie, and that steps decide all."""

import numpy as np
import pytest

from fcn_jax.datasets import DatasetError, Sample, Scenes
from fcn_jax.datasets.augmentation import Augmentation
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.sampling import class_sampler, count_labels
from fcn_jax.errors import SettingError


class Spots(Scenes):
    """Black pictures of 60 x 50; in every tenth one pixel is of the class "disc", all else is background."""

    def __init__(self, count: int = 40):
        super().__init__(count, (60, 50))

    def __getitem__(self, index):
        labels = np.zeros(self.size, np.uint8)
        if index % 10 == 3:
            labels[(7 * index) % 60, (11 * index) % 50] = 1
        return Sample(np.zeros((*self.size, 3), np.uint8), labels)


CROP = Augmentation(base_size=None, crop_size=(20, 16), scale=(1, 1), flip=0.5)


def batches(chosen: float, classes=("disc",), dataset=None, **settings) -> Batches:
    dataset = dataset or Spots()
    sampler = class_sampler(dataset, classes, chosen)
    return Batches(dataset, batch_size=4, seed=5, augmentation=CROP, sampler=sampler, **settings)


def test_labels_are_counted():
    counts = count_labels(Spots())
    assert counts.shape == (40, 6)
    assert counts[:, 1].tolist() == [int(index % 10 == 3) for index in range(40)]
    assert (counts.sum(1) == 3000).all()


def test_every_chosen_crop_contains_the_class():
    """One pixel of 3000, in a tenth of the pictures: a plain crop has it once in 94 times."""
    whole = batches(1.0)
    for step in range(5):
        assert set(whole.indices(step) % 10) == {3}
        assert (whole.batch(step)["labels"] == 1).any((1, 2)).all()


def test_crops_around_a_pixel_lie_evenly():
    rows = []
    for step in range(60):
        rows += (batches(1.0, dataset=Spots(4)).batch(step)["labels"] == 1).any(2).argmax(1).tolist()
    assert set(rows) == set(range(20))  # the pixel lies in row 21 of 60: every row of the crop is possible


def test_the_share_of_the_chosen():
    drawn = np.concatenate([batches(0.25).indices(step) for step in range(100)])
    assert 0.25 < (drawn % 10 == 3).mean() < 0.4  # expected 0.325


def test_all_classes_alike():
    dataset = Scenes(12, (40, 50))
    sampler = class_sampler(dataset, ("all",), 1.0)
    assert list(sampler.pictures) == [0, 1, 2, 3, 4, 5]
    focus = [sampler.draw(np.random.default_rng(seed)).focus for seed in range(300)]
    assert np.bincount(focus).min() > 30  # expected 50


def test_a_step_decides_and_hosts_share_it():
    whole, first, second = batches(0.5), batches(0.5, share=(0, 2)), batches(0.5, share=(1, 2))
    for step in (3, 0):
        expected = whole.batch(step)
        parts = [each.batch(step) for each in (first, second)]
        for name, values in expected.items():
            np.testing.assert_array_equal(values, np.concatenate([part[name] for part in parts]))


def test_without_a_sampler_nothing_changes():
    plain = Batches(Spots(), batch_size=4, seed=5, augmentation=CROP)
    np.testing.assert_array_equal(batches(0.0).indices(2), plain.indices(2))
    np.testing.assert_array_equal(batches(0.0).batch(2)["labels"], plain.batch(2)["labels"])


def test_classes_that_do_not_exist_or_occur():
    with pytest.raises(SettingError, match=r"crops_with: expected all, or some of background, .*, got dog"):
        class_sampler(Spots(), ("dog", "disc"), 0.5)
    with pytest.raises(DatasetError, match="no label of the 40 pictures is ring, bar; choose other classes"):
        class_sampler(Spots(), ("ring", "bar"), 0.5)
