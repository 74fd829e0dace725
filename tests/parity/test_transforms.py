"""Presets equal torchvision's to the bit, on random pictures of odd sizes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcn_jax import transforms
from tests.parity.torch_reference import torchvision

presets = torchvision.transforms._presets
edges = st.integers(1, 90)


def assert_same(ours, theirs, height, width):
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    expected = theirs(image).numpy().transpose(1, 2, 0)
    actual = ours(image)
    assert actual.dtype == expected.dtype == np.float32
    assert actual.shape[:2] == ours.output_size((height, width))
    np.testing.assert_array_equal(actual, expected)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(height=edges, width=edges, resize_size=st.integers(1, 70))
def test_semantic_segmentation(height, width, resize_size):
    ours = transforms.SemanticSegmentation(resize_size=resize_size)
    assert_same(ours, presets.SemanticSegmentation(resize_size=resize_size), height, width)


def test_semantic_segmentation_as_published():
    for height, width in ((375, 500), (517, 606), (520, 693), (1, 1), (701, 333)):
        assert_same(
            transforms.SemanticSegmentation(), presets.SemanticSegmentation(resize_size=520), height, width
        )


def test_semantic_segmentation_with_other_statistics_and_no_resizing():
    settings = {"resize_size": None, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 1 / 255)}
    ours, theirs = transforms.SemanticSegmentation(**settings), presets.SemanticSegmentation(**settings)
    assert_same(ours, theirs, 33, 47)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(height=edges, width=edges, resize_size=st.integers(1, 50), crop_size=st.integers(1, 60))
def test_image_classification(height, width, resize_size, crop_size):
    sizes = {"resize_size": resize_size, "crop_size": crop_size}
    assert_same(transforms.ImageClassification(**sizes), presets.ImageClassification(**sizes), height, width)


def test_image_classification_as_published():
    sizes = {"resize_size": 232, "crop_size": 224}
    assert_same(transforms.ImageClassification(**sizes), presets.ImageClassification(**sizes), 375, 500)
