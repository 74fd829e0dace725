"""The record that travels with weights: as text and back, and what makes no sense."""

import json

import numpy as np
import pytest

from fcn_jax.categories import VOC_CATEGORIES, voc_palette
from fcn_jax.errors import SettingError
from fcn_jax.meta import WeightsMeta, Window, palette_of
from fcn_jax.transforms import CaffeSegmentation, ImageClassification, SemanticSegmentation

ROADS = WeightsMeta(
    transforms=SemanticSegmentation(resize_size=None),
    categories=("road", "sky"),
    palette=((128, 64, 128), (0, 0, 255)),
)


@pytest.mark.parametrize(
    "meta",
    [
        ROADS,
        WeightsMeta(),
        WeightsMeta(transforms=CaffeSegmentation()),
        WeightsMeta(categories=("a", "b")),
        WeightsMeta(window=Window(crop=(769, 769), stride=(513, 513))),
    ],
)
def test_text_keeps_it(meta):
    assert WeightsMeta.from_metadata(meta.to_metadata() | {"format": "fcn_jax"}, 2) == meta


def test_names_and_colours_that_are_not_known_are_vocs():
    assert ROADS.names(2) == ("road", "sky")
    assert WeightsMeta().names(21) == VOC_CATEGORIES
    assert WeightsMeta().names(2) == ("class 0", "class 1")
    colours = ROADS.colours()
    assert colours[:2].tolist() == [[128, 64, 128], [0, 0, 255]]
    np.testing.assert_array_equal(colours[2:], voc_palette(256)[2:])
    np.testing.assert_array_equal(WeightsMeta().colours(), voc_palette(256))


def test_a_data_sets_colours_become_a_palette():
    assert palette_of(ROADS.colours(), 2) == ROADS.palette


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("categories", ["road"], "categories: expected 2, one for each class, got 1"),
        ("categories", "road", "categories: expected a list, got .road."),
        ("categories", ["road", 3], "categories: expected a list of names"),
        ("palette", [[1, 2, 3]], "palette: expected 2, one for each class, got 1"),
        ("palette", [[1, 2, 3], [1, 2]], r"palette: expected a list of colours \[r, g, b\] from 0 to 255"),
        ("palette", [[1, 2, 3], [1, 2, 256]], "palette: expected a list of colours"),
        ("palette", [[1, 2, 3], [1, 2, True]], "palette: expected a list of colours"),
        ("transforms", [], "transforms: expected an object with the settings of a preset"),
        ("window", [], "window: expected an object with the settings of a window"),
        ("window", {"crop": [1, 1]}, "window: expected crop and stride"),
        ("window", {"crop": [1, 1], "stride": [1, 0]}, "stride: expected two numbers of pixels"),
        ("transforms", {"name": "Mirror"}, "transforms: expected the name of a preset"),
        (
            "transforms",
            CaffeSegmentation().to_dict() | {"mean": [1, 2]},
            "transforms: mean: expected three numbers",
        ),
        ("transforms", ImageClassification(crop_size=8).to_dict(), "transforms: .* got ImageClassification"),
    ],
)
def test_text_that_makes_no_sense_is_refused(field, value, message):
    with pytest.raises(SettingError, match=message):
        WeightsMeta.from_metadata({field: json.dumps(value)}, 2)


@pytest.mark.parametrize("text", ["no json", "[" * 10**5])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(SettingError, match="palette: expected JSON"):
        WeightsMeta.from_metadata({"palette": text}, 2)
