"""Reading pictures and labels as they are stored, and one clear error for whatever is wrong with them."""

import pickle

import numpy as np
import pytest
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.datasets import DatasetError, FileDataset
from fcn_jax.datasets.files import read_image, read_label_image
from fcn_jax.visualization import label_image
from tests.datasets.made_files import random_image, random_labels, turned, write


@pytest.fixture
def pair(tmp_path):
    image = write(tmp_path / "images" / "a.png", random_image(0))
    return image, write(tmp_path / "labels" / "a.png", random_labels(0, classes=5))


def opened(pair, classes=5, **options):
    return FileDataset([pair], [f"class {index}" for index in range(classes)], **options)


def test_a_sample_is_what_the_files_hold(pair):
    dataset = opened(pair)
    image, labels = dataset[0]
    np.testing.assert_array_equal(image, random_image(0))
    np.testing.assert_array_equal(labels, random_labels(0, classes=5))
    assert image.dtype == labels.dtype == np.uint8
    assert (len(dataset), dataset.name(0), dataset.ignore_label) == (1, "a", 255)
    np.testing.assert_array_equal(dataset.palette, voc_palette(256))


def test_void_values_become_255(pair):
    before = random_labels(0, classes=5)
    _, labels = opened(pair, classes=3, void=[3, 4])[0]
    np.testing.assert_array_equal(labels, np.where(before >= 3, 255, before))


def test_a_void_value_may_lie_among_the_classes(pair):
    before = random_labels(0, classes=5)
    np.testing.assert_array_equal(opened(pair, void=[2])[0].labels, np.where(before == 2, 255, before))


def test_it_can_be_pickled(pair):
    dataset = opened(pair)
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy[0].labels, dataset[0].labels)


@pytest.mark.parametrize("index", [-1, 1, 10**12])
def test_an_index_outside_is_an_error(pair, index):
    for call in (opened(pair).__getitem__, opened(pair).name):
        with pytest.raises(IndexError, match=f"expected a picture's index from 0 to 0, got {index}"):
            call(index)


def test_numpy_integers_are_numbers_and_floats_are_not(pair):
    assert opened(pair)[np.int64(0)].labels.shape == (33, 47)
    with pytest.raises(TypeError):
        opened(pair)[0.0]


def test_a_for_loop_ends(pair):
    assert len(list(opened(pair))) == 1


def test_exif_orientation_is_left_alone(tmp_path):
    path = write(tmp_path / "a.png", random_image(1), exif=turned(6))
    np.testing.assert_array_equal(read_image(path), random_image(1))


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16", "I"])
def test_labels_of_every_mode(tmp_path, mode):
    labels = random_labels(0, classes=5) if mode != "1" else np.random.default_rng(0).random((33, 47)) < 0.5
    array = {"I;16": np.uint16, "I": np.int32}.get(mode, labels.dtype)
    image = label_image(labels) if mode == "P" else Image.fromarray(labels.astype(array))
    assert image.mode == mode
    path = tmp_path / ("a.tiff" if mode == "I" else "a.png")
    image.save(path)
    np.testing.assert_array_equal(read_label_image(path), labels)


def test_values_of_16_bits_are_not_cut_off(tmp_path, pair):
    path = write(tmp_path / "b.png", np.full((33, 47), 258, np.uint16))
    with pytest.raises(DatasetError, match=r"b.png: expected labels from 0 to 4 .* got 258 in 1,551 pixels"):
        opened((pair[0], path))[0]


def test_negative_values_are_an_error(tmp_path, pair):
    path = write(tmp_path / "b.tiff", np.full((33, 47), -1, np.int32))
    with pytest.raises(DatasetError, match=r"b.tiff: expected labels from 0 to 4 .* got -1 in 1,551"):
        opened((pair[0], path))[0]


def test_labels_beyond_the_classes(tmp_path, pair):
    values = np.zeros((33, 47), np.uint8)
    values[:2, :6] = np.arange(5, 17).reshape(2, 6)
    path = write(tmp_path / "b.png", values)
    expected = (
        r"b.png: expected labels from 0 to 4 \(5 classes\), or 255 for none, got 5, 6, 7, 8, 9, 10, 11, 12, "
    )
    with pytest.raises(DatasetError, match=expected + r"\.\.\. in 12 pixels; correct"):
        opened((pair[0], path))[0]


def test_labels_of_another_size(tmp_path, pair):
    path = write(tmp_path / "b.png", random_labels(0, 5, size=(47, 33)))
    with pytest.raises(DatasetError, match=r"b.png: .* picture's size, 47 x 33 \(.*a.png\), got 33 x 47"):
        opened((pair[0], path))[0]


def test_labels_in_colours(tmp_path):
    path = write(tmp_path / "b.png", random_image(0))
    with pytest.raises(
        DatasetError, match=r"b.png: expected labels as class indices .* \(mode RGB\); convert"
    ):
        read_label_image(path)


def test_labels_as_jpeg(tmp_path):
    path = write(tmp_path / "b.png", random_labels(0, 5), format="JPEG")  # whatever the name says
    with pytest.raises(DatasetError, match=r"b.png: .* got a JPEG, which blurs them; save the labels as PNG"):
        read_label_image(path)


@pytest.mark.parametrize(("read", "what"), [(read_image, "a picture"), (read_label_image, "a label image")])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"not a picture"])
def test_damaged_files(tmp_path, read, what, damage):
    path = write(tmp_path / "b.png", random_labels(0, 200))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=rf"b.png: cannot be read as {what}: \w+: "):
        read(path)


@pytest.mark.parametrize("read", [read_image, read_label_image])
def test_a_file_that_has_gone(tmp_path, read):
    with pytest.raises(DatasetError, match=r"b.png: expected a .*, there is no such file"):
        read(tmp_path / "b.png")


def test_missing_files_are_found_at_once(tmp_path, pair):
    others = [(tmp_path / "images" / f"{name}.png", tmp_path / "labels" / f"{name}.png") for name in "abc"]
    with pytest.raises(
        DatasetError, match=r"^4 of the 6 files .* missing: \S*b.png, \S*b.png, \S*c.png, \.\.\.;"
    ):
        FileDataset(others, ["one"])


def test_a_missing_folder_is_missing_files(tmp_path, pair):
    with pytest.raises(DatasetError, match=r"^1 of the 2 files of this split are missing: \S*a.png; unpack"):
        FileDataset([(pair[0], tmp_path / "nowhere" / "a.png")], ["one"])


def test_no_pairs_and_no_classes(pair):
    with pytest.raises(DatasetError, match="at least one picture with labels, got none"):
        FileDataset([], ["one"])
    for classes in (0, 256):
        with pytest.raises(DatasetError, match=f"1 to 255 categories, got {classes}"):
            opened(pair, classes)
    assert len(opened(pair, 255).categories) == 255
