"""Batches as a function of the step: every picture once an epoch, the same on any number of hosts."""

import numpy as np
import pytest

from fcn_jax.datasets.augmentation import Augmentation
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.dataset import DatasetError, Sample
from fcn_jax.errors import SettingError
from tests.datasets.random_pictures import RandomPictures, assert_same

SMALL = Augmentation(base_size=24, crop_size=(21, 26))


def run_of(batches, steps):
    return np.concatenate([batches.indices(step) for step in range(steps)])


@pytest.mark.parametrize("batch_size", [1, 3, 7, 16])
def test_every_picture_once_an_epoch_and_every_epoch_in_another_order(batch_size):
    batches = Batches(RandomPictures(7), batch_size=batch_size, seed=1)
    epochs = run_of(batches, 42)[: 7 * (42 * batch_size // 7)].reshape(-1, 7)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(7), (len(epochs), 1)))
    assert len(np.unique(epochs[:6], axis=0)) == 6
    assert not np.array_equal(epochs[0], np.arange(7))


def test_the_order_is_as_random_as_can_be():
    epochs = run_of(Batches(RandomPictures(5), batch_size=5, seed=2), 2000).reshape(-1, 5)
    for place in range(5):
        counts = np.bincount(epochs[:, place], minlength=5)
        assert np.abs(counts - 400).max() < 90  # five standard deviations; seen: 39


def test_the_seed_decides_and_the_run_goes_on_across_batch_sizes():
    first, again, other = (Batches(RandomPictures(9), batch_size=3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(run_of(first, 6), run_of(again, 6))
    assert (run_of(first, 6) != run_of(other, 6)).any()
    larger = Batches(RandomPictures(9), batch_size=6, seed=1)
    np.testing.assert_array_equal(run_of(first, 6), run_of(larger, 3))


@pytest.mark.parametrize("augmentation", [SMALL, None])
def test_a_batch_depends_on_its_step_alone(augmentation):
    settings = {"batch_size": 3, "seed": 1, "augmentation": augmentation}
    forwards, backwards = (Batches(RandomPictures(7), **settings) for _ in range(2))
    expected = [forwards.batch(step) for step in range(6)]
    for step in reversed(range(6)):
        assert_same(backwards.batch(step), expected[step])


def test_a_picture_is_augmented_otherwise_every_time():
    batches = Batches(RandomPictures(1), batch_size=2, seed=1, augmentation=SMALL)
    looks = np.concatenate([batches.batch(step)["images"] for step in range(4)])
    assert len(np.unique(looks, axis=0)) == 8
    other = Batches(RandomPictures(1), batch_size=2, seed=2, augmentation=SMALL)
    assert (other.batch(0)["images"] != looks[:2]).any()


def test_augmented_batches_have_the_crop_s_size():
    batch = Batches(RandomPictures(7), batch_size=3, seed=1, augmentation=SMALL).batch(5)
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        "images": ((3, 21, 26, 3), np.uint8),
        "labels": ((3, 21, 26), np.uint8),
    }


def test_without_augmentation_pictures_are_framed_to_the_largest():
    dataset = RandomPictures(7)
    batches = Batches(dataset, batch_size=3, seed=1)
    batch = batches.batch(2)
    samples = [dataset[index] for index in batches.indices(2)]
    heights, widths = zip(*(sample.labels.shape for sample in samples), strict=True)
    assert max(heights) > min(heights)
    assert batch["labels"].shape == (3, max(heights), max(widths))
    for image, labels, sample in zip(batch["images"], batch["labels"], samples, strict=True):
        height, width = sample.labels.shape
        np.testing.assert_array_equal(image[:height, :width], sample.image)
        np.testing.assert_array_equal(labels[:height, :width], sample.labels)
        assert image[height:].sum() == image[:, width:].sum() == 0
        assert (labels[height:] == 255).all()
        assert (labels[:, width:] == 255).all()


@pytest.mark.parametrize("augmentation", [SMALL, None])
@pytest.mark.parametrize("hosts", [2, 3])
def test_the_shares_of_the_hosts_are_the_batch(hosts, augmentation):
    settings = {"batch_size": 6, "seed": 1, "augmentation": augmentation}
    whole = Batches(RandomPictures(7), **settings)
    shares = [Batches(RandomPictures(7), share=(host, hosts), **settings) for host in range(hosts)]
    for step in (0, 1, 5):
        parts = [share.batch(step) for share in shares]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in ("images", "labels")}
        assert len(parts[0]["images"]) == 6 // hosts
        assert_same(joined, whole.batch(step))


def test_with_replacement_every_draw_is_from_all_pictures():
    batches = Batches(RandomPictures(5), batch_size=10, seed=1, with_replacement=True)
    drawn = run_of(batches, 200)
    assert np.abs(np.bincount(drawn, minlength=5) - 400).max() < 90  # seen: 32
    assert any(len(set(epoch)) < 5 for epoch in drawn.reshape(-1, 5)[:5])
    repeated = np.mean(drawn[1:] == drawn[:-1])
    assert abs(repeated - 0.2) < 0.045  # five standard deviations; seen: 0.006


PINNED_ORDERS = [[0, 4, 3, 5, 1, 2, 6], [5, 3, 2, 6, 0, 1, 4], [4, 1, 5, 0, 2, 6, 3]]
PINNED_DRAWS = [18, 28, 231]


def test_no_numpy_may_change_a_run():
    """What a run looks like is pinned, and rests on the raw output that NumPy promises not to change."""
    batches = Batches(RandomPictures(7), batch_size=7, seed=2015)
    assert [batches.indices(step).tolist() for step in (0, 1, 123456789)] == PINNED_ORDERS

    class Drawn(Augmentation):
        def __call__(self, image, labels, random):
            return Sample(*[np.uint8(256 * random.random()) * np.ones_like(each) for each in (image, labels)])

    drawn = Batches(RandomPictures(7), batch_size=3, seed=2015, augmentation=Drawn()).batch(4)
    raw = [
        np.random.PCG64(np.random.SeedSequence(2015, spawn_key=(1, number))).random_raw(2)
        for number in (12, 13, 14)
    ]
    assert drawn["images"][:, 0, 0, 0].tolist() == [int(one) >> 56 for one, _ in raw] == PINNED_DRAWS
    assert drawn["labels"][:, 0, 0].tolist() == [int(two) >> 56 for _, two in raw]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"share": (2, 2)}, r"share: expected \(index, count\) with 0 <= index < count, got \(2, 2\)"),
        ({"share": (0, 4)}, "batch_size: expected a multiple of the 4 hosts, .*, got 6"),
        ({"dataset": RandomPictures(0)}, "expected a dataset with at least one picture, got an empty one"),
    ],
)
def test_arguments_that_make_no_sense(settings, message):
    with pytest.raises(SettingError, match=message):
        Batches(**{"dataset": RandomPictures(7), "batch_size": 6, "seed": 1} | settings)


def test_a_step_below_0():
    batches = Batches(RandomPictures(7), batch_size=6, seed=1)
    for function in (batches.batch, batches.indices):
        with pytest.raises(SettingError, match="step: expected at least 0, got -1"):
            function(-1)


@pytest.mark.parametrize("augmentation", [SMALL, None])
def test_a_picture_that_is_not_as_expected_is_named(augmentation):
    class Wide(RandomPictures):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample if index != 2 else Sample(sample.image, sample.labels.astype(np.int64))

    batches = Batches(Wide(3), batch_size=3, seed=1, augmentation=augmentation)
    with pytest.raises(DatasetError, match=r"noise_2: expected a picture .* int64"):
        batches.batch(0)


def test_an_error_of_the_dataset_stays_as_it_is():
    with pytest.raises(DatasetError, match=r"^pictures/noise_2.png: cannot be read as a picture: .*$"):
        Batches(RandomPictures(3, damaged=2), batch_size=3, seed=1).batch(0)
