"""What an augmentation does to a picture and its labels, draw by draw, and how its draws are spread."""

import numpy as np
import pytest
from PIL import Image

from fcn_jax.datasets.augmentation import (
    Augmentation,
    Jitter,
    evaluation_sample,
    pad_sample,
    resize_sample,
)
from fcn_jax.datasets.dataset import Sample
from fcn_jax.errors import ArrayError, SettingError
from tests.datasets.random_pictures import Told, random_sample

LAST = 1 - 2**-53  # the largest number that a generator gives


def chosen(augmentation, sample, *numbers):
    """Augments with these draws, all of which it has to use."""
    random = Told(*numbers)
    result = augmentation(*sample, random)
    assert random.left == []
    return result


def assert_equal(ours, image, labels):
    np.testing.assert_array_equal(ours.image, image)
    np.testing.assert_array_equal(ours.labels, labels)
    assert ours.image.dtype == ours.labels.dtype == np.uint8


KEEP = Augmentation(base_size=None, crop_size=(20, 24), scale=(1, 1), flip=0.5)


def test_the_crop_lies_where_it_was_drawn():
    sample = random_sample(33, 47)
    for numbers, top, left in (((0, 0), 0, 0), ((LAST, LAST), 13, 23), ((0.5, 0), 7, 0), ((0, 0.5), 0, 12)):
        part = np.s_[top : top + 20, left : left + 24]
        assert_equal(chosen(KEEP, sample, 0, 0.5, *numbers), sample.image[part], sample.labels[part])


def test_the_crop_is_taken_from_the_mirror_image():
    sample = random_sample(33, 47)
    image, labels = sample.image[:, ::-1], sample.labels[:, ::-1]
    assert_equal(chosen(KEEP, sample, 0, 0.49, 0, 0), image[:20, :24], labels[:20, :24])
    assert_equal(chosen(KEEP, sample, 0, 0, LAST, 0), image[13:, :24], labels[13:, :24])


def test_a_small_picture_is_framed_in_black_and_255_after_mirroring():
    sample = random_sample(11, 47)
    result = chosen(KEEP, sample, 0, 0, 0, 0)
    np.testing.assert_array_equal(result.image[:11], sample.image[:, ::-1][:, :24])
    np.testing.assert_array_equal(result.labels[:11], sample.labels[:, ::-1][:, :24])
    assert result.labels.shape == (20, 24)
    assert (result.image[11:] == 0).all()
    assert (result.labels[11:] == 255).all()
    narrow = random_sample(33, 5)
    result = chosen(KEEP, narrow, 0, 0.9, LAST, LAST)
    np.testing.assert_array_equal(result.image[:, :5], narrow.image[13:])
    np.testing.assert_array_equal(result.labels[:, :5], narrow.labels[13:])
    assert (result.image[:, 5:] == 0).all()
    assert (result.labels[:, 5:] == 255).all()


@pytest.mark.parametrize(("number", "short"), [(0, 16), (LAST, 66), (0.5, 41)])
def test_the_short_side_is_drawn_and_the_labels_follow_their_picture(number, short):
    sample = random_sample(33, 47)
    augmentation = Augmentation(base_size=33, crop_size=(short, int(short * 47 / 33)))
    result = chosen(augmentation, sample, number, 0.9, 0, 0)
    resized = resize_sample(sample, short)
    assert resized.labels.shape == augmentation.crop_size
    assert_equal(result, *resized)
    assert set(np.unique(result.labels)) <= {0, 1, 2, 255}  # nothing is mixed


def test_without_a_base_size_each_picture_has_its_own():
    sample = random_sample(33, 21)
    result = chosen(Augmentation(base_size=None, crop_size=70), sample, LAST, 0.9, 0, 0)
    assert (result.labels[:66, :42] == resize_sample(sample, 42).labels).all()


def test_a_tiny_picture_is_never_resized_to_nothing():
    result = Augmentation(base_size=None, crop_size=3)(*random_sample(1, 1), Told(0, 0, 0, 0))
    assert result.labels.shape == (3, 3)


def test_every_short_side_is_as_likely_and_half_the_pictures_are_mirrored():
    random = np.random.default_rng(3)
    augmentation = Augmentation(base_size=4, crop_size=9)
    image = np.zeros((4, 4, 3), np.uint8)
    labels = np.array([[0, 0, 1, 1]] * 4, np.uint8)
    shorts, mirrored = [], 0
    for _ in range(3500):
        result = augmentation(image, labels, random)
        shorts.append((result.labels[0] != 255).sum())
        mirrored += result.labels[0, 0] == 1
    values, counts = np.unique(shorts, return_counts=True)
    assert values.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert np.abs(counts - 500).max() < 100  # five standard deviations; seen: 30
    assert abs(mirrored - 1750) < 150  # likewise; seen: 2


def test_every_place_is_as_likely():
    random = np.random.default_rng(4)
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    augmentation = Augmentation(base_size=None, crop_size=2, scale=(1, 1), flip=0)
    corners = [augmentation(np.zeros((3, 4, 3), np.uint8), labels, random).labels[0, 0] for _ in range(3000)]
    values, counts = np.unique(corners, return_counts=True)
    assert values.tolist() == [0, 1, 2, 4, 5, 6]
    assert np.abs(counts - 500).max() < 100  # seen: 34


def test_the_same_generator_gives_the_same_picture_and_the_input_stays():
    sample = random_sample(33, 47)
    copies = sample.image.copy(), sample.labels.copy()
    augmentation = Augmentation(base_size=33, crop_size=40, jitter=Jitter(brightness=0.4, saturation=0.7))
    first, second, other = (augmentation(*sample, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert_equal(first, *second)
    assert (first.image != other.image).any()
    assert_equal(sample, *copies)


def test_jitter_changes_the_picture_alone_and_in_the_drawn_order():
    sample = random_sample(33, 47)
    jitter = Jitter(brightness=0.5, contrast=0.5)
    augmentation = Augmentation(base_size=None, crop_size=(33, 47), scale=(1, 1), flip=0, jitter=jitter)
    brightness_first = chosen(augmentation, sample, 0, 0, 0, 0, 0.1, 0.9, 0.2, LAST)
    contrast_first = chosen(augmentation, sample, 0, 0, 0, 0, 0.2, 0.9, 0.1, LAST)
    np.testing.assert_array_equal(brightness_first.labels, sample.labels)
    brighter = blend(np.zeros(3), sample.image, 1.4)
    expected = blend(mean_grey(brighter), brighter, 1.5)
    # Pillow cuts off what we round, once for each step: at most 1 + 1.5. Seen: 2; in the other order 10.
    assert np.abs(brightness_first.image - expected).max() <= 2.5
    assert np.abs(contrast_first.image - expected).max() > 2.5
    darkest = chosen(augmentation, sample, 0, 0, 0, 0, 0.1, 0, 0.2, 0.5)  # factors 0.5 and 1
    assert np.abs(darkest.image - sample.image / 2).max() <= 1


def blend(one, other, factor):
    return np.clip(one + factor * (other - one), 0, 255).round()


def mean_grey(image):
    return round(np.asarray(Image.fromarray(image.astype(np.uint8)).convert("L")).mean())


def test_jitter_leaves_the_frame_black():
    augmentation = Augmentation(base_size=None, crop_size=50, scale=(1, 1), jitter=Jitter(contrast=1))
    result = augmentation(*random_sample(33, 47), Told(0, 0, 0, 0, 0, 0))  # contrast 0: all grey
    assert (result.image[:33, :47] > 0).all()
    assert (result.image[33:] == 0).all()
    assert (result.image[:, 47:] == 0).all()


def test_a_saturation_of_nothing_is_grey():
    image = Image.fromarray(random_sample(9, 7).image)
    grey = Jitter(saturation=1)(image, Told(0, 0))
    np.testing.assert_array_equal(np.asarray(grey), np.asarray(image.convert("L"))[..., None].repeat(3, 2))
    assert Jitter()(image, Told()) is image


def test_pad_extends_to_the_right_and_downwards():
    sample = random_sample(3, 5)
    result = pad_sample(sample, (4, 7))
    assert_equal(Sample(result.image[:3, :5], result.labels[:3, :5]), *sample)
    assert result.image[3:].sum() == result.image[:, 5:].sum() == 0
    assert (result.labels == 255).sum() == (sample.labels == 255).sum() + 13


def test_evaluation():
    sample = random_sample(33, 47)
    assert evaluation_sample(sample, "original") is sample
    assert evaluation_sample(sample, "torchvision").labels.shape == (520, 740)
    tall = random_sample(47, 33)
    image, labels = map(Image.fromarray, tall)
    expected = (
        image.resize((20, 28), Image.Resampling.BILINEAR),
        labels.resize((20, 28), Image.Resampling.NEAREST),
    )
    assert_equal(resize_sample(tall, 20), *map(np.asarray, expected))
    with pytest.raises(SettingError, match=r'expected "torchvision" or "original", got \'resized\''):
        evaluation_sample(sample, "resized")
    with pytest.raises(SettingError, match=r"at least 1 for the shorter edge, got 0"):
        resize_sample(sample, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_size": 0}, "base_size: expected a length of at least 1, or None, got 0"),
        ({"base_size": 520.0}, "base_size: .* got 520.0"),
        ({"crop_size": 0}, "crop_size: expected a length of at least 1, or two .*, got 0"),
        ({"crop_size": (3, 4, 5)}, r"crop_size: .* got \(3, 4, 5\)"),
        ({"crop_size": (3, 0)}, r"crop_size: .* got \(3, 0\)"),
        ({"scale": (2.0, 0.5)}, r"scale: expected \(low, high\) with 0 < low <= high, got \(2.0, 0.5\)"),
        ({"scale": (0, 1)}, "scale: "),
        ({"scale": (1,)}, "scale: "),
        ({"flip": 1.5}, "flip: expected a probability from 0 to 1, got 1.5"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(SettingError, match=message):
        Augmentation(**settings)


def test_a_jitter_below_nothing():
    with pytest.raises(SettingError, match=r"contrast: expected a number of at least 0, got -0.1"):
        Jitter(contrast=-0.1)


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        (np.zeros((3, 4, 3), np.uint8), np.zeros((4, 3), np.uint8)),
        (np.zeros((3, 4, 3), np.float64), np.zeros((3, 4), np.uint8)),
        (np.zeros((3, 4, 3), np.uint8), np.zeros((3, 4), np.int64)),
        (np.zeros((3, 4), np.uint8), np.zeros((3, 4), np.uint8)),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)),
    ],
)
def test_other_arrays(image, labels):
    message = r"expected a picture \(H, W, C\) of uint8, uint16 or float32 and labels \(H, W\) of uint8, got "
    with pytest.raises(ArrayError, match=message):
        Augmentation()(image, labels, Told())
    with pytest.raises(ArrayError, match=message):
        resize_sample(Sample(image, labels), 5)
