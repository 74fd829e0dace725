"""Datasets by name."""

import pytest

from fcn_jax.datasets import DatasetError, Scenes, by_name, list_datasets, open_dataset
from tests.datasets.made_files import random_image, random_labels, write


def test_each_name_opens_its_dataset(monkeypatch):
    names = ["voc", "sbd", "coco", "camvid", "cityscapes", "ade20k", "folder"]
    for name in names:
        monkeypatch.setitem(by_name.IN_FOLDERS, name, lambda *arguments, name=name: (name, *arguments))
        assert open_dataset(name, "DIR", "val") == (name, "DIR", "val")
        assert open_dataset(name, "DIR") == (name, "DIR", "train")
    assert list_datasets() == [*names, "scenes"]


def test_ones_own_pictures(tmp_path):
    for seed in range(3):
        write(tmp_path / "images" / f"{seed}.png", random_image(seed))
        write(tmp_path / "labels" / f"{seed}.png", random_labels(seed, 4))
    assert len(open_dataset("folder", tmp_path)) == 2
    assert len(open_dataset("folder", tmp_path, split="val").categories) == 4


def test_scenes_for_training_and_for_validation_differ():
    train, val = open_dataset("scenes"), open_dataset("scenes", split="val")
    assert isinstance(train, Scenes)
    assert (len(train), len(val)) == (400, 100)
    assert (train[0].labels != val[0].labels).any()
    assert train[0].labels.shape == (128, 128)


@pytest.mark.parametrize(
    ("name", "hint"), [("cmvid", "'camvid'"), ("VOC", "'voc'"), ("scene", "'scenes'"), ("imagenet", None)]
)
def test_an_unknown_name(name, hint):
    ending = f"got {name!r}; did you mean {hint}\\?$" if hint else f"got {name!r}$"
    with pytest.raises(
        DatasetError, match=rf"one of voc, sbd, coco, camvid, cityscapes, ade20k, folder, scenes, {ending}"
    ):
        open_dataset(name)


def test_no_folder_where_one_is_needed_and_one_where_none_is():
    with pytest.raises(DatasetError, match=r"holds the dataset \(voc\), got none; give it as folder$"):
        open_dataset("voc")
    with pytest.raises(DatasetError, match=r"no folder for scenes, which are generated, got 'DIR'"):
        open_dataset("scenes", "DIR")


def test_an_unknown_split_of_scenes():
    with pytest.raises(DatasetError, match=r"a split \(train, val\), got 'test'"):
        open_dataset("scenes", split="test")
