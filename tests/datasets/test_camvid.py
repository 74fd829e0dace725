"""CamVid in the SegNet layout, with both forms of its lists."""

import json
from pathlib import Path

import numpy as np
import pytest

from fcn_jax.datasets import CAMVID_CATEGORIES, DatasetError, open_camvid
from tests.datasets.made_files import random_image, random_labels, write

REAL = Path(__file__).parents[3] / "shared" / "data" / "camvid"


def write_camvid(folder, form="{split}/{name}.png {split}annot/{name}.png"):
    for seed, split in enumerate(("train", "val", "test")):
        lines = []
        for name in ("a", "b"):
            write(folder / split / f"{name}.png", random_image(seed))
            write(folder / f"{split}annot" / f"{name}.png", random_labels(seed, 12))
            lines.append(form.format(split=split, name=name))
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "form",
    [
        "{split}/{name}.png {split}annot/{name}.png",
        "/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png",
    ],
)
@pytest.mark.parametrize(("seed", "split"), [(0, "train"), (1, "val"), (2, "test")])
def test_both_forms_of_the_lists(tmp_path, form, seed, split):
    write_camvid(tmp_path, form)
    dataset = open_camvid(tmp_path, split)
    assert [dataset.name(0), dataset.name(1)] == ["a", "b"]
    image, labels = dataset[1]
    np.testing.assert_array_equal(image, random_image(seed))
    stored = random_labels(seed, 12)
    np.testing.assert_array_equal(labels, np.where(stored == 11, 255, stored))


def test_classes_and_colours(tmp_path):
    write_camvid(tmp_path)
    dataset = open_camvid(tmp_path)
    assert dataset.categories == CAMVID_CATEGORIES
    assert len(CAMVID_CATEGORIES) == 11
    found = [(CAMVID_CATEGORIES[label], dataset.palette[label].tolist()) for label in (3, 10)]
    assert found == [("Road", [128, 64, 128]), ("Bicyclist", [0, 128, 192])]
    assert dataset.palette[[11, 255]].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_list_file_as_split(tmp_path):
    write_camvid(tmp_path)
    (tmp_path / "two.txt").write_text("val/b.png valannot/b.png\ntest/a.png testannot/a.png\n")
    dataset = open_camvid(tmp_path, tmp_path / "two.txt")
    np.testing.assert_array_equal(dataset[0].image, random_image(1))
    np.testing.assert_array_equal(dataset[1].image, random_image(2))


def test_an_unknown_split_lists_those_there_are(tmp_path):
    write_camvid(tmp_path)
    (tmp_path / "val.txt").unlink()
    (tmp_path / "classes.txt").write_text("no list\n")
    with pytest.raises(DatasetError, match=r"a split \(train, test\) or the path of a list file, got 'val'"):
        open_camvid(tmp_path, "val")
    with pytest.raises(DatasetError, match=r"a split \(none found\)"):
        open_camvid(tmp_path / "train")


@pytest.mark.parametrize("line", ["train/a.png", "train/a.png trainannot/a.png 3"])
def test_a_line_of_another_form(tmp_path, line):
    write_camvid(tmp_path)
    (tmp_path / "train.txt").write_text(line)
    with pytest.raises(DatasetError, match=rf"train.txt: expected a picture and its labels .* got '{line}'"):
        open_camvid(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="real pictures are not here")
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_real_labels_are_counted_as_published(split, monkeypatch):
    stats = json.loads((REAL / "stats.json").read_text())
    dataset = open_camvid(REAL, split)
    assert len(dataset) == stats["splits"][split]["images"]
    assert list(CAMVID_CATEGORIES) == stats["classes"][:11]
    assert dataset.palette[:11].tolist() == stats["colours"][:11]
    assert dataset[0].image.shape == (360, 480, 3)
    blank = np.zeros((360, 480, 3), np.uint8)  # decoding all pictures would take seconds
    monkeypatch.setattr(dataset, "_read_image", lambda path: blank)
    counts = sum(np.bincount(labels.ravel(), minlength=256) for _, labels in dataset)
    assert [*counts[:11], counts[255]] == stats["splits"][split]["pixels"]
