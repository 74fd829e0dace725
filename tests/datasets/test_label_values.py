"""Values of label files as class indices, against a table for each value by hand."""

import numpy as np
import pytest

from fcn_jax.datasets import DatasetError
from fcn_jax.datasets.label_values import LabelValues, label_values, parse_values, shown_values
from fcn_jax.errors import SettingError

ALL = np.arange(256, dtype=np.uint8).reshape(16, 16)


def by_hand(table, labels):
    return np.array([table[value] for value in labels.ravel().tolist()], np.uint8).reshape(labels.shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_the_first_value_may_mean_none(dtype):
    """ADE20K's way: 0 becomes 255, the others move down by one, and 255 stays."""
    table = {0: 255, **{value: value - 1 for value in range(1, 151)}, 255: 255}
    labels = ALL[(ALL <= 150) | (ALL == 255)][None].astype(dtype)
    found = label_values(150, None, None, zero_is_void=True).indices(labels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_hand(table, labels))


def test_with_254_classes_the_largest_value_is_the_last_class():
    found = label_values(254, None, None, zero_is_void=True).indices(ALL)
    np.testing.assert_array_equal(found.ravel(), [255, *range(254), 255])


def test_binary_masks_of_0_and_255():
    labels = np.array([[0, 255, 255]], np.uint8)
    np.testing.assert_array_equal(label_values(2, None, "0,255", False).indices(labels), [[0, 1, 1]])
    np.testing.assert_array_equal(label_values(2, None, None, False).indices(labels), [[0, 255, 255]])


def test_values_of_16_bits():
    labels = np.array([[1000, 7, 255, 70000]], np.int32)
    found = label_values(2, (70000,), (7, 1000), False).indices(labels)
    np.testing.assert_array_equal(found, [[1, 0, 255, 255]])


def test_void_values_keep_the_others_in_place():
    labels = np.array([[0, 1, 2, 9]], np.uint8)
    found = label_values(3, "0,9", None, False).indices(labels)
    np.testing.assert_array_equal(found, [[255, 1, 2, 255]])


@pytest.mark.parametrize(
    ("values", "labels", "said"),
    [
        (
            label_values(2, None, None, True),
            [0, 1, 2, 3],
            r"the labels 1, 2 \(2 classes\), or 0, 255 for",
        ),
        (
            label_values(2, None, (0, 255), False),
            [0, 255, 7],
            r"the labels 0, 255 \(2 classes\), got 7",
        ),
        (LabelValues(2), [0, 1, 2], r"labels from 0 to 1 .* got 2 in 1 pixels; if 0 means no class and 1 is"),
        (LabelValues(2), [0, 1, 3], r"got 3 in 1 pixels; correct the file or the list of classes"),
    ],
)
def test_a_value_of_no_class(values, labels, said):
    for dtype in (np.uint8, np.uint16):
        with pytest.raises(DatasetError, match=said):
            values.indices(np.array([labels], dtype))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            (2, None, "0,1,2", False),
            r"values: expected 2 values, a different one .*, got 0, 1, 2",
        ),
        ((2, None, "4,4", False), r"values: expected 2 values, .* got 4, 4"),
        ((2, "5", "0,5", False), r"void: expected values that no class has, got 5, which is of a class"),
        ((2, None, "0,255", True), r"zero_is_void: expected this or the values of the classes, got both"),
        ((2, "0,x", None, False), r"void: expected label values of at least 0, such as 0,255, got '0,x'"),
        ((2, (-1,), None, False), r"void: expected label values of at least 0"),
    ],
)
def test_options_that_contradict_each_other(options, said):
    with pytest.raises(SettingError, match=said):
        label_values(*options)


def test_values_as_text_and_in_words():
    assert parse_values("void", " 0, 255") == parse_values("void", [0, 255]) == (0, 255)
    assert shown_values([*range(1, 151), 255]) == "1 to 150, 255"
    assert shown_values(range(0, 100, 5)) == "0, 5, 10, 15, 20, 25, 30, 35, ..."
