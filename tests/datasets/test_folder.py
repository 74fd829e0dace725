"""People's own pictures: pairing, splitting, classes, and an error that says what to do for each mistake."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.datasets import DatasetError, open_folder
from fcn_jax.datasets.colours import first_palette
from tests.datasets.made_files import random_image, random_labels, turned, write

NAMES = [f"street {number}.v2" for number in range(23)]


def write_folder(folder, names=("a", "b"), classes=3, suffix=".png"):
    for seed, name in enumerate(names):
        write(folder / "images" / f"{name}{suffix}", random_image(seed, (9, 7)))
        write(folder / "labels" / f"{name}.png", random_labels(seed, classes, (9, 7)))


def names_of(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def test_pairs_go_together_and_every_picture_is_in_one_split(tmp_path):
    write_folder(tmp_path, NAMES)
    (tmp_path / "images" / ".hidden.png").touch()
    (tmp_path / "images" / "notes.txt").touch()
    train, val = open_folder(tmp_path), open_folder(str(tmp_path), "val")
    assert (len(train), len(val)) == (21, 2)
    assert sorted(names_of(train) + names_of(val)) == sorted(NAMES)
    for dataset in (train, val):
        for name, (image, labels) in zip(names_of(dataset), dataset, strict=True):
            np.testing.assert_array_equal(image, random_image(NAMES.index(name), (9, 7)))
            np.testing.assert_array_equal(labels, random_labels(NAMES.index(name), 3, (9, 7)))


def test_the_split_follows_from_the_names_alone(tmp_path):
    write_folder(tmp_path / "one", NAMES)
    write_folder(tmp_path / "other", reversed(NAMES), suffix=".tiff")
    chosen = names_of(open_folder(tmp_path / "one", "val"))
    assert names_of(open_folder(tmp_path / "other", "val")) == chosen
    by_hash = sorted(NAMES, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert sorted(chosen) == sorted(by_hash[:2])


def colour_labels(path, colours):
    """Gives a grey label file a palette."""
    with Image.open(path) as image:
        labels = Image.fromarray(np.asarray(image))
    labels.putpalette(np.asarray(colours, np.uint8).tobytes())
    labels.save(path)


def test_the_palette_of_the_first_label_image_gives_the_colours(tmp_path):
    write_folder(tmp_path, "abc")
    np.testing.assert_array_equal(open_folder(tmp_path).palette, voc_palette(256))
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    other = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    colour_labels(tmp_path / "labels" / "c.png", other)  # not the first, and of no colour of the first
    np.testing.assert_array_equal(open_folder(tmp_path).palette, voc_palette(256))
    colour_labels(tmp_path / "labels" / "a.png", colours)
    for split in ("train", "val"):
        dataset = open_folder(tmp_path, split)
        np.testing.assert_array_equal(dataset.palette, colours)
        for index in range(len(dataset)):
            expected = random_labels("abc".index(dataset.name(index)), 3, (9, 7))
            np.testing.assert_array_equal(dataset[index].labels, expected)
    colour_labels(tmp_path / "labels" / "a.png", np.arange(256)[:, None].repeat(3, axis=1))  # grey after all
    np.testing.assert_array_equal(open_folder(tmp_path).palette, voc_palette(256))


def test_a_damaged_file_has_no_palette(tmp_path):
    write(tmp_path / "a.png", np.array([[0, 1, 2]], np.uint8))
    colour_labels(tmp_path / "a.png", [(10, 20, 30), (40, 50, 60), (70, 80, 90)])
    np.testing.assert_array_equal(
        first_palette(tmp_path / "a.png"), [(10, 20, 30), (40, 50, 60), (70, 80, 90)]
    )
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:20])
    assert first_palette(tmp_path / "a.png") is None


def test_few_pictures_still_leave_one_for_validation(tmp_path):
    write_folder(tmp_path)
    assert len(open_folder(tmp_path)) == len(open_folder(tmp_path, "val")) == 1
    write_folder(tmp_path / "alone", ["a"])
    with pytest.raises(
        DatasetError, match=r"alone: expected at least two pictures, one of them for validation"
    ):
        open_folder(tmp_path / "alone")


def test_subfolders_are_splits(tmp_path):
    write_folder(tmp_path / "train", "abc")
    write_folder(tmp_path / "holdout", "de")
    (tmp_path / "unlabelled" / "images").mkdir(parents=True)
    assert names_of(open_folder(tmp_path)) == ["a", "b", "c"]
    assert names_of(open_folder(tmp_path, "holdout")) == ["d", "e"]
    with pytest.raises(DatasetError, match=r"a split \(holdout, train\), got 'val'"):
        open_folder(tmp_path, "val")


def test_an_unknown_split(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"a split \(train, val\), got 'test'"):
        open_folder(tmp_path, "test")


def test_classes_from_the_file(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "classes.txt").write_text("ground\nthe Tree\n car \nbird\n\n", encoding="utf-8-sig")
    assert open_folder(tmp_path).categories == ("ground", "the Tree", "car", "bird")
    assert open_folder(tmp_path, categories=["x", "y", "z"]).categories == ("x", "y", "z")


@pytest.mark.parametrize("content", ["", "a\n\nb", "a\nb\na"])
def test_classes_that_make_no_sense(tmp_path, content):
    write_folder(tmp_path)
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(
        DatasetError, match=r"classes.txt: expected the names .* one a line, each once and none"
    ):
        open_folder(tmp_path)


def test_classes_are_counted_over_all_splits(tmp_path):
    write_folder(tmp_path / "train", classes=2)
    write_folder(tmp_path / "val", classes=4)
    for split in ("train", "val"):
        assert open_folder(tmp_path, split).categories == ("class_0", "class_1", "class_2", "class_3")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 2, 255], r"got no such file and the labels 0, 2, 255$"),
        ([1, 2], r"the labels 1, 2$"),
        ([0, 255], r"the labels 0, 255; if 255 marks a class, write 1 instead of 255"),
        ([0], r"the labels 0$"),
        (list(range(0, 100, 5)), r"the labels 0, 5, 10, 15, 20, 25, 30, 35, \.\.\.$"),
    ],
)
def test_labels_that_leave_the_classes_open(tmp_path, values, message):
    write_folder(tmp_path)
    for name in "ab":
        write(tmp_path / "labels" / f"{name}.png", np.resize(np.array(values, np.uint8), (9, 7)))
    with pytest.raises(DatasetError, match=rf"expected classes.txt with the names .*, .*{message}"):
        open_folder(tmp_path)


def test_files_without_a_partner(tmp_path):
    write_folder(tmp_path, "abcdef")
    for path in ("labels/b.png", "labels/d.png", "images/a.png", "images/c.png"):
        (tmp_path / path).unlink()
    first, last = r"\S*images/b.png without labels/b\.\*", r"\S*labels/a.png without images/a\.\*"
    with pytest.raises(DatasetError, match=rf"got 4 without: {first}, \S*d.png .*, {last}, \.\.\.$"):
        open_folder(tmp_path)


def test_two_files_of_one_name(tmp_path):
    write_folder(tmp_path)
    write(tmp_path / "images" / "b.bmp", random_image(0))
    with pytest.raises(
        DatasetError, match=r"images/b.png: expected one file with this name, found b.bmp too"
    ):
        open_folder(tmp_path)


def test_folders_of_another_layout(tmp_path):
    with pytest.raises(DatasetError, match=r"expected the folders images and labels, or .*, found nothing"):
        open_folder(tmp_path)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DatasetError, match=r"expected the folders images and labels, or .*, found pictures"):
        open_folder(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError, match=r"labels: expected a folder of pictures, there is none"):
        open_folder(tmp_path)
    (tmp_path / "labels").mkdir()
    with pytest.raises(DatasetError, match=r"images: expected pictures, found none"):
        open_folder(tmp_path)
    write_folder(tmp_path)
    write_folder(tmp_path / "train")
    with pytest.raises(DatasetError, match=r"got images and train; move one of them away"):
        open_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"nowhere: .* there is no such folder"):
        open_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_pictures_that_exif_turns_are_refused(tmp_path, orientation):
    write_folder(tmp_path / "train")
    write(tmp_path / "train" / "images" / "b.png", random_image(1, (9, 7)), exif=turned(orientation))
    with pytest.raises(
        DatasetError, match=rf"b.png: .* stored upright, .*\(orientation {orientation}\); .* turn"
    ):
        open_folder(tmp_path)[1]


def test_pictures_that_exif_calls_upright_are_taken(tmp_path):
    write_folder(tmp_path / "train")
    write(tmp_path / "train" / "images" / "b.png", random_image(1, (9, 7)), exif=turned(1))
    np.testing.assert_array_equal(open_folder(tmp_path)[1].image, random_image(1, (9, 7)))


def test_pictures_of_other_modes(tmp_path):
    """As `open_image` takes them: transparency lies on white."""
    write_folder(tmp_path / "train")
    write(tmp_path / "train" / "images" / "b.png", np.zeros((9, 7, 4), np.uint8))
    assert (open_folder(tmp_path)[1].image == 255).all()


def test_pictures_that_cannot_be_used(tmp_path):
    write_folder(tmp_path / "train")
    write(tmp_path / "train" / "images" / "a.tiff", np.full((9, 7), -1.0, np.float32))
    (tmp_path / "train" / "images" / "a.png").unlink()
    (tmp_path / "train" / "images" / "b.png").write_bytes(b"nothing")
    dataset = open_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"a.tiff: expected values from 0 to 65535, got -1 to -1"):
        dataset[0]
    with pytest.raises(DatasetError, match=r"b.png: cannot be read as a picture"):
        dataset[1]
