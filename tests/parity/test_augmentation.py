"""Augmentation equals torchvision's functions on Pillow images, in the order of its recipe, to the bit."""

import numpy as np
import pytest
from PIL import Image

from fcn_jax.datasets.augmentation import Augmentation, Jitter, resize_sample
from tests.datasets.random_pictures import random_sample
from tests.parity.torch_reference import torchvision

functional = torchvision.transforms.functional
BILINEAR = torchvision.transforms.InterpolationMode.BILINEAR
NEAREST = torchvision.transforms.InterpolationMode.NEAREST


def recipe(sample, random, *, base, crop, jitter=False):
    """`SegmentationPresetTrain` of torchvision's references, with draws from `random`."""
    image, target = map(Image.fromarray, sample)
    low, high = int(0.5 * base), int(2.0 * base)
    short = low + int(random.random() * (high - low + 1))
    image = functional.resize(image, short, interpolation=BILINEAR, antialias=True)
    target = functional.resize(target, short, interpolation=NEAREST)
    if random.random() < 0.5:
        image, target = functional.hflip(image), functional.hflip(target)
    image, target = pad_if_smaller(image, crop, fill=0), pad_if_smaller(target, crop, fill=255)
    top = int(random.random() * (image.height - crop[0] + 1))
    left = int(random.random() * (image.width - crop[1] + 1))
    image = functional.crop(image, top, left, *crop)
    target = functional.crop(target, top, left, *crop)
    if jitter:
        names = ("adjust_brightness", "adjust_contrast", "adjust_saturation")
        steps = [(random.random(), name, 0.6 + 0.8 * random.random()) for name in names]
        for _, name, factor in sorted(steps):
            image = getattr(functional, name)(image, factor)
    return np.asarray(image), np.asarray(target)


def pad_if_smaller(image, crop, fill):
    width, height = max(0, crop[1] - image.width), max(0, crop[0] - image.height)
    return functional.pad(image, (0, 0, width, height), fill=fill)


def assert_same(sample, augmentation, seed, **settings):
    ours = augmentation(*sample, np.random.default_rng(seed))
    image, labels = recipe(sample, np.random.default_rng(seed), **settings)
    np.testing.assert_array_equal(ours.image, image)
    np.testing.assert_array_equal(ours.labels, labels)


@pytest.mark.parametrize("size", [(33, 47), (47, 33), (40, 40), (9, 71), (1, 1), (64, 23)])
def test_the_recipe(size):
    for seed in range(60):
        augmentation = Augmentation(base_size=31, crop_size=(29, 37))
        assert_same(random_sample(*size, seed), augmentation, seed, base=31, crop=(29, 37))


def test_the_recipe_as_published():
    for seed in range(6):
        assert_same(random_sample(375, 500, seed), Augmentation(), seed, base=520, crop=(480, 480))


def test_jitter():
    for seed in range(60):
        jitter = Jitter(brightness=0.4, contrast=0.4, saturation=0.4)
        augmentation = Augmentation(base_size=61, crop_size=25, jitter=jitter)  # no frame at this size
        assert_same(random_sample(33, 47, seed), augmentation, seed, base=61, crop=(25, 25), jitter=True)


@pytest.mark.parametrize("size", [(33, 47), (47, 33), (375, 500)])
def test_evaluation(size):
    sample = random_sample(*size)
    for short in (20, 33, 61, 520):
        image, target = map(Image.fromarray, sample)
        ours = resize_sample(sample, short)
        resized = functional.resize(image, short, interpolation=BILINEAR, antialias=True)
        np.testing.assert_array_equal(ours.image, np.asarray(resized))
        resized = functional.resize(target, short, interpolation=NEAREST)
        np.testing.assert_array_equal(ours.labels, np.asarray(resized))
