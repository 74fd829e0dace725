"""Presets without torch: sizes, values, settings."""

import json

import numpy as np
import pytest
from PIL import Image

from fcn_jax.images import ImageError
from fcn_jax.transforms import (
    CaffeSegmentation,
    FitWithin,
    ImageClassification,
    Preset,
    SemanticSegmentation,
)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((375, 500), (520, 693)), ((500, 375), (693, 520)), ((99, 99), (520, 520)), ((20, 800), (520, 20800))],
)
def test_the_shorter_edge_becomes_520(size, expected):
    assert SemanticSegmentation().output_size(size) == expected


def test_sizes_without_resizing_and_with_a_crop():
    assert SemanticSegmentation(resize_size=None).output_size((3, 5)) == (3, 5)
    assert ImageClassification(crop_size=224).output_size((3, 5)) == (224, 224)


def test_values_by_hand():
    image = np.full((2, 3, 3), (255, 0, 51), np.uint8)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    result = SemanticSegmentation(resize_size=None)(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.broadcast_to(expected, (2, 3, 3)), rtol=1e-6)


def test_a_constant_picture_stays_constant_when_resized():
    result = SemanticSegmentation(resize_size=8)(np.full((3, 5), 128, np.uint8))
    assert result.shape == (8, 13, 3)
    assert np.ptp(result, axis=(0, 1)).max() == 0


def test_a_small_picture_is_framed_in_black_and_a_large_one_cropped():
    preset = ImageClassification(crop_size=5, resize_size=2, mean=(0, 0, 0), std=(1, 1, 1))
    np.testing.assert_array_equal(
        preset(np.full((2, 2), 255, np.uint8))[..., 0],
        [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    )
    preset = ImageClassification(crop_size=2, resize_size=5, mean=(0, 0, 0), std=(1, 1, 1))
    columns = np.tile(np.arange(5, dtype=np.uint8), (5, 1))
    np.testing.assert_array_equal(np.rint(preset(columns)[..., 0] * 255), [[2, 3], [2, 3]])


def test_bad_pictures_are_refused():
    with pytest.raises(ImageError, match="channels come last"):
        SemanticSegmentation()(np.zeros((3, 8, 8), np.uint8))


@pytest.mark.parametrize(
    "preset",
    [
        SemanticSegmentation(),
        SemanticSegmentation(resize_size=None, mean=(0.1, 0.2, 0.3)),
        ImageClassification(crop_size=224, resize_size=232),
        CaffeSegmentation(mean=(1.0, 2.0, 3.0)),
    ],
)
def test_settings_survive_json(preset):
    settings = json.loads(json.dumps(preset.to_dict()))
    assert settings["name"] == type(preset).__name__
    assert Preset.from_dict(settings) == preset
    assert hash(Preset.from_dict(settings)) == hash(preset)


def test_caffes_input_is_bgr_minus_its_mean_at_the_pictures_own_size():
    picture = np.random.RandomState(0).randint(0, 256, (5, 7, 3), dtype=np.uint8)
    preset = CaffeSegmentation()
    assert preset.output_size((5, 7)) == (5, 7)
    red, green, blue = np.moveaxis(picture.astype(np.float32), -1, 0)
    expected = np.stack(
        [blue - np.float32(104.00698793), green - np.float32(116.66876762), red - np.float32(122.67891434)],
        -1,
    )
    assert preset(picture).dtype == np.float32
    np.testing.assert_array_equal(preset(picture), expected)


def test_settings_of_no_preset_are_refused():
    with pytest.raises(
        ValueError, match=r"one of \['Caffe.*, 'ImageClass.*, 'SemanticSeg.*'\], got 'Detect'"
    ):
        Preset.from_dict({"name": "Detect"})
    with pytest.raises(ValueError, match=r"expected the settings .*'resize_size'.* got \['mean'\]"):
        Preset.from_dict({"name": "SemanticSegmentation", "mean": [0, 0, 0]})


def test_the_pictures_orientation_is_applied():
    image = Image.fromarray(np.zeros((4, 9, 3), np.uint8))
    image.getexif()[0x0112] = 6
    assert SemanticSegmentation(resize_size=None)(image).shape == (9, 4, 3)


@pytest.mark.parametrize(
    ("size", "within", "expected"),
    [
        ((1024, 2048), {}, (1024, 2048)),
        ((375, 500), {}, (1024, 1365)),
        ((500, 375), {"long": 2048, "short": 512}, (683, 512)),
        ((100, 900), {"long": 2048, "short": 512}, (228, 2048)),
        ((1, 5000), {"long": 20, "short": 10}, (1, 20)),
    ],
)
def test_pictures_fit_within_a_size_as_mmcv_computes_it(size, within, expected):
    assert FitWithin(**within).output_size(size) == expected


def test_fitting_samples_at_half_pixel_centres_and_does_not_average():
    preset = FitWithin(long=2, short=1, mean=(0, 0, 0), std=(1, 1, 1))
    columns = np.array([[0, 100, 200, 50, 10, 250, 40, 60]], np.uint8)  # 8 x 1 to 2 columns: at 1.5 and 5.5
    np.testing.assert_allclose(preset(columns)[0, :, 0] * 255, [150, 145], atol=1e-4)
    preset = FitWithin(long=4, short=2, mean=(0, 0, 0), std=(1, 1, 1))
    pixels = np.array([[0, 100]], np.uint8)
    np.testing.assert_allclose(preset(pixels)[0, :, 0] * 255, [0, 25, 75, 100], atol=1e-4)


def test_fitting_keeps_a_picture_of_its_own_size_and_gives_way_to_another():
    picture = np.random.RandomState(0).randint(0, 256, (10, 20, 3), np.uint8)
    np.testing.assert_array_equal(
        FitWithin(long=20, short=10)(picture), SemanticSegmentation(resize_size=None)(picture)
    )
    assert FitWithin(mean=(0.1, 0.2, 0.3)).with_resize(None) == SemanticSegmentation(
        resize_size=None, mean=(0.1, 0.2, 0.3)
    )
    with pytest.raises(ValueError, match="short: expected a length of at least 1, got 0"):
        FitWithin(short=0)
    assert Preset.from_dict(FitWithin(long=7).to_dict()) == FitWithin(long=7)
