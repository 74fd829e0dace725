"""Folders as labelling tools and other libraries write them: each opens as what it shows."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from fcn_jax.datasets import DatasetError, open_dataset, open_folder, open_voc
from tests.datasets.made_files import random_image, write

SHOWN = np.random.default_rng(0).integers(0, 3, (9, 7)).astype(np.uint8)
CLASSES = "background\nroad\ntree\n"
COLOURS = np.array([(0, 0, 0), (128, 64, 128), (107, 142, 35)], np.uint8)


def write_pair(images, labels, name="a", mask=SHOWN, mark="", seed=0):
    write(images / f"{name}.jpg", random_image(seed, (9, 7)))
    return write(labels / f"{name}{mark}.png", mask)


def names_of(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


@pytest.mark.parametrize(
    ("images", "labels", "mark"),
    [
        ("train/images", "train/masks", ""),
        ("images/train", "labels/train", ""),
        ("images/training", "annotations/training", ""),
        ("img_dir/train", "ann_dir/train", ""),
        ("img_dir/train", "ann_dir/train", "_mask"),
        ("train", "train", "_mask"),
        ("train", "train", ".jpg"),
    ],
)
def test_splits_in_every_layout(tmp_path, images, labels, mark):
    for name in ("a", "b"):
        write_pair(tmp_path / images, tmp_path / labels, name, mark=mark)
    (tmp_path / "classes.txt").write_text(CLASSES)
    dataset = open_folder(tmp_path)
    assert names_of(dataset) == ["a", "b"]
    np.testing.assert_array_equal(dataset[1].labels, SHOWN)
    with pytest.raises(DatasetError, match=r"a split \(train\), got 'val'"):
        open_folder(tmp_path, "val")


@pytest.mark.parametrize(
    ("images", "labels"), [("images", "masks"), ("JPEGImages", "SegmentationClass"), (".", ".")]
)
def test_layouts_without_splits(tmp_path, images, labels):
    for name in ("a", "b"):
        write_pair(tmp_path / images, tmp_path / labels, name, mark="_mask" if images == "." else "")
    (tmp_path / "classes.txt").write_text(CLASSES)
    assert sorted(names_of(open_folder(tmp_path)) + names_of(open_folder(tmp_path, "val"))) == ["a", "b"]


def test_a_layout_whose_folders_are_empty_does_not_count(tmp_path):
    """Such as labels/ with outlines for another program, beside masks/."""
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 1 1")
    for name in ("a", "b"):
        write_pair(tmp_path / "images", tmp_path / "masks", name)
    (tmp_path / "classes.txt").write_text(CLASSES)
    assert names_of(open_folder(tmp_path)) + names_of(open_folder(tmp_path, "val"))


def test_a_split_of_another_name(tmp_path):
    for split in ("train", "valid"):
        write_pair(tmp_path / split, tmp_path / split, split, mark="_mask")
    (tmp_path / "classes.txt").write_text(CLASSES)
    assert names_of(open_folder(tmp_path, "val")) == ["valid"]


def test_roboflow(tmp_path):
    """The list names the value of each class, which need not be its index."""
    values = np.array([10, 20, 255], np.uint8)[SHOWN]
    for split in ("train", "valid"):
        write_pair(tmp_path / split, tmp_path / split, "a_jpg.rf.0123", values, "_mask")
        text = "Pixel Value, Class\n10, background\n20, road\n255, tree\n"
        (tmp_path / split / "_classes.csv").write_text(text)
    dataset = open_folder(tmp_path)
    assert dataset.categories == ("background", "road", "tree")
    np.testing.assert_array_equal(dataset[0].labels, SHOWN)
    for text in ("10, background\n20, road\n", "0, background\n1, road\n2, tree\n"):
        (tmp_path / "valid" / "_classes.csv").write_text(f"Pixel Value, Class\n{text}")
        with pytest.raises(DatasetError, match=r"valid/_classes.csv: expected the classes of \S*train/_"):
            open_folder(tmp_path)


def write_cvat(root, mask):
    for name in "ab":
        write_pair(root / "JPEGImages", root / "SegmentationClass", name, mask)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\n")
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad: wet:128,64,128::\ntree:107,142,35::\n"
    (root / "labelmap.txt").write_text(text)


def test_cvat(tmp_path):
    write_cvat(tmp_path, COLOURS[SHOWN])
    (tmp_path / "JPEGImages" / "b.jpg").rename(tmp_path / "JPEGImages" / "b.png")
    for dataset in (open_voc(tmp_path), open_folder(tmp_path)):
        assert dataset.categories == ("background", "road: wet", "tree")
        np.testing.assert_array_equal(dataset[0].labels, SHOWN)
        np.testing.assert_array_equal(dataset.palette[:3], COLOURS)
    assert names_of(open_voc(tmp_path)) == ["a", "b"]


def test_cvat_without_a_colour(tmp_path):
    write_cvat(tmp_path, COLOURS[SHOWN])
    (tmp_path / "labelmap.txt").write_text("background:::\nroad:128,64,128::\n")
    with pytest.raises(DatasetError, match=r"labelmap.txt: expected CVAT's classes, one a line"):
        open_voc(tmp_path)


def test_decomposed_names_are_the_same_names(tmp_path):
    names = ("caf\u00e9", "stra\u00dfe", "M\u00fcnchen")
    for name in names:
        write(tmp_path / "images" / f"{unicodedata.normalize('NFD', name)}.jpg", random_image(0, (9, 7)))
        write(tmp_path / "labels" / f"{name}.png", SHOWN)
    (tmp_path / "classes.txt").write_text(CLASSES)
    decomposed = names_of(open_folder(tmp_path))
    (tmp_path / "images").rename(tmp_path / "gone")
    for name in names:
        write(tmp_path / "images" / f"{name}.jpg", random_image(0, (9, 7)))
    assert names_of(open_folder(tmp_path)) == [unicodedata.normalize("NFC", name) for name in decomposed]


def test_a_list_finds_names_in_another_form(tmp_path):
    write_pair(
        tmp_path / "JPEGImages", tmp_path / "SegmentationClass", unicodedata.normalize("NFD", "caf\u00e9")
    )
    (tmp_path / "list.txt").write_text("caf\u00e9\n", encoding="utf-8")
    np.testing.assert_array_equal(open_voc(tmp_path, tmp_path / "list.txt")[0].labels, SHOWN)


def test_labels_from_1_are_read_so_with_a_warning(tmp_path, caplog):
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name, SHOWN)
    (tmp_path / "classes.txt").write_text("wall\nroad\n")
    expected = np.array([255, 0, 1], np.uint8)[SHOWN]
    dataset = open_folder(tmp_path)
    np.testing.assert_array_equal(dataset[0].labels, expected)
    said = "labels go from 0 to 2, and there are 2 classes: taken as 0 for no class, 1 for wall, 2 for road"
    assert said in caplog.text
    assert [said in str(fault) for fault in dataset.faults] == [True]
    caplog.clear()
    dataset = open_dataset("folder", tmp_path, "train", zero_is_void=True)
    np.testing.assert_array_equal(dataset[0].labels, expected)
    assert (caplog.text, dataset.faults) == ("", ())


def test_options_of_a_folder(tmp_path):
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name, np.array([0, 255, 7], np.uint8)[SHOWN])
    (tmp_path / "classes.txt").write_text("background\nroad\n")
    labels = open_dataset("folder", tmp_path, void="7", values="0,255")[0].labels
    np.testing.assert_array_equal(labels, np.array([0, 1, 255], np.uint8)[SHOWN])
    (tmp_path / "classes.txt").unlink()
    assert open_folder(tmp_path, values=(0, 255, 7)).categories == ("class_0", "class_255", "class_7")


def test_faults_are_errors_or_a_list(tmp_path):
    for name in "abcd":
        write_pair(tmp_path / "images", tmp_path / "labels", name)
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "labels" / "b.png").unlink()
    write(tmp_path / "images" / "c.bmp", random_image(0, (9, 7)))
    (tmp_path / "classes.txt").write_text(CLASSES)
    with pytest.raises(DatasetError, match=r"c.jpg: expected one file with this name, found c.bmp too"):
        open_folder(tmp_path)
    train, val = (open_folder(tmp_path, split, tolerant=True) for split in ("train", "val"))
    assert sorted(names_of(train) + names_of(val)) == ["c", "d"]
    assert sorted(fault.path.rpartition("/")[2] for fault in train.faults) == ["a.png", "b.jpg", "c.jpg"]


def palette_file(path, mask, colours):
    image = Image.fromarray(mask)
    image.putpalette(np.asarray(colours, np.uint8).tobytes())
    image.save(path)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_palettes_in_another_order_are_read_by_their_colours(tmp_path, order):
    """The first file says which colour is which class."""
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name)
    (tmp_path / "classes.txt").write_text(CLASSES)
    palette_file(tmp_path / "labels" / "a.png", SHOWN, COLOURS)
    place = np.argsort(order).astype(np.uint8)
    palette_file(tmp_path / "labels" / "b.png", place[SHOWN], COLOURS[list(order)])
    for split in ("train", "val"):
        np.testing.assert_array_equal(open_folder(tmp_path, split)[0].labels, SHOWN)


def test_palettes_that_contradict(tmp_path):
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name)
    (tmp_path / "classes.txt").write_text(CLASSES)
    palette_file(tmp_path / "labels" / "a.png", SHOWN, COLOURS)
    palette_file(tmp_path / "labels" / "b.png", SHOWN, [(0, 0, 0), (9, 9, 9), (128, 64, 128)])
    said = r"b.png: expected the colours of a.png, in whatever order, got .*, and \(9, 9, 9\); list"
    with pytest.raises(DatasetError, match=said):
        [open_folder(tmp_path, split)[0] for split in ("train", "val")]


@pytest.mark.parametrize(
    "text",
    [
        "background 0 0 0\nroad 128 64 128\ntree 107 142 35",
        "background: 0, 0, 0\nroad: 128, 64, 128\ntree: 107, 142, 35",
        "0 0 0\tbackground\n128 64 128\troad\n107 142 35\ttree",
        "background #000000\nroad #804080\ntree #6B8e23",
    ],
)
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "palette"])
def test_a_list_with_colours(tmp_path, text, kind):
    """Labels in colours, and palettes in any order, become the list's indices."""
    for name in "ab":
        path = write_pair(tmp_path / "images", tmp_path / "labels", name, COLOURS[SHOWN])
        if kind == "palette":
            palette_file(path, np.array([2, 0, 1], np.uint8)[SHOWN], COLOURS[[1, 2, 0]])
        elif kind == "RGBA":
            Image.fromarray(COLOURS[SHOWN]).convert("RGBA").save(path)
    (tmp_path / "classes.txt").write_text(text + "\n")
    dataset = open_folder(tmp_path)
    assert dataset.categories == ("background", "road", "tree")
    np.testing.assert_array_equal(dataset[0].labels, SHOWN)


def test_names_may_end_in_numbers(tmp_path):
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name)
    (tmp_path / "classes.txt").write_text("background\nlevel 1 2 3\nlevel 4 5 6\n")
    assert open_folder(tmp_path).categories == ("background", "level 1 2 3", "level 4 5 6")


def test_class_dict(tmp_path):
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name, COLOURS[SHOWN])
    (tmp_path / "class_dict.csv").write_text(
        "name,r,g,b\nbackground,0,0,0\nroad,128,64,128\ntree,107,142,35\n"
    )
    np.testing.assert_array_equal(open_folder(tmp_path)[0].labels, SHOWN)


def test_black_and_white_labels_with_their_colours(tmp_path):
    mask = (SHOWN > 0).astype(np.uint8)
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name, 255 * mask)
    (tmp_path / "classes.txt").write_text("background 0 0 0\nroad 255 255 255\n")
    np.testing.assert_array_equal(open_folder(tmp_path)[0].labels, mask)


def test_colours_that_nobody_lists(tmp_path):
    other = COLOURS[SHOWN].copy()
    other[:2, 0] = (1, 2, 3)
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name, other)
    (tmp_path / "classes.txt").write_text("background 0 0 0\nroad 128 64 128\ntree 107 142 35\n")
    said = r"png: expected the colours that classes.txt lists, got \(1, 2, 3\) in 2 pixels; add these"
    with pytest.raises(DatasetError, match=said):
        open_folder(tmp_path)[0]
    for name in "ab":
        palette_file(tmp_path / "labels" / f"{name}.png", SHOWN, [(0, 0, 0), (1, 2, 3), (107, 142, 35)])
    said = rf"got \(1, 2, 3\) in {(SHOWN == 1).sum()} pixels"
    with pytest.raises(DatasetError, match=said):
        open_folder(tmp_path)[0]


def test_half_transparent_labels(tmp_path):
    for name in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", name, np.full((9, 7, 4), 100, np.uint8))
    (tmp_path / "classes.txt").write_text("background 0 0 0\nroad 100 100 100\n")
    with pytest.raises(DatasetError, match=r"expected labels in plain colours, got half transparent pixels"):
        open_folder(tmp_path)[0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("classes.txt", "a 1 2 3\nb 1 2 3", r"classes.txt: expected the names .*got \(1, 2, 3\) twice"),
        ("_classes.csv", "Pixel Value, Class\nx, road", r"_classes.csv: expected Roboflow's classes"),
        ("_classes.csv", "Pixel Value, Class\n1, a\n1, b", r"_classes.csv: .* got 1 twice"),
        ("class_dict.csv", "name,r,g,b\nroad,1", r"class_dict.csv: expected a title, then"),
    ],
)
def test_lists_that_make_no_sense(tmp_path, name, text, said):
    for each in "ab":
        write_pair(tmp_path / "images", tmp_path / "labels", each)
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=said):
        open_folder(tmp_path)
