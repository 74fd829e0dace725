"""Cityscapes: layout, ids and train ids, colours, errors."""

import pickle

import numpy as np
import pytest
from PIL import Image

from fcn_jax.datasets import IGNORE_LABEL, DatasetError, open_cityscapes, open_dataset

# The authors' table, written out once more: {id: train id}.
TRAIN_IDS = dict(
    zip((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33), range(19), strict=True)
)


def write(root, split, city, number, labels, ending="labelIds"):
    stem = f"{city}_{number:06}_000019"
    for folder in (root / "leftImg8bit" / split / city, root / "gtFine" / split / city):
        folder.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*labels.shape, 3), number, np.uint8)
    Image.fromarray(pixels).save(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
    Image.fromarray(labels).save(root / "gtFine" / split / city / f"{stem}_gtFine_{ending}.png")


@pytest.fixture
def root(tmp_path):
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    write(tmp_path, "train", "bochum", 2, ids)
    write(tmp_path, "train", "aachen", 1, ids)
    train_ids = np.array([[0, 18, 255]], np.uint8)
    write(tmp_path, "val", "ulm", 3, train_ids, ending="labelTrainIds")
    return tmp_path


def test_the_ids_become_the_19_train_ids_and_the_rest_none(root):
    dataset = open_cityscapes(root)
    assert len(dataset) == 2
    assert [dataset.name(i) for i in (0, 1)] == [
        f"{n}_000019_leftImg8bit" for n in ("aachen_000001", "bochum_000002")
    ]
    image, labels = dataset[0]
    assert (image == 1).all()
    assert labels.dtype == np.uint8
    assert labels.ravel().tolist() == [TRAIN_IDS.get(index, IGNORE_LABEL) for index in range(34)]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[1].labels, labels)


def test_train_ids_are_read_as_they_are(root):
    assert open_cityscapes(root, "val")[0].labels.tolist() == [[0, 18, 255]]


def test_ids_come_first_where_there_are_both(root):
    write(root, "val", "ulm", 3, np.array([[7, 33, 0]], np.uint8))
    assert open_cityscapes(root, "val")[0].labels.tolist() == [[0, 18, 255]]


def test_names_and_colours():
    from fcn_jax.categories import CITYSCAPES_CATEGORIES, CITYSCAPES_PALETTE

    assert len(CITYSCAPES_CATEGORIES) == len(CITYSCAPES_PALETTE) == 19
    assert dict(zip(CITYSCAPES_CATEGORIES, CITYSCAPES_PALETTE, strict=True))["car"] == (0, 0, 142)


def test_the_dataset_has_its_colours(root):
    palette = open_dataset("cityscapes", root, "val").palette
    assert palette.shape == (256, 3)
    assert palette[0].tolist() == [128, 64, 128]
    assert palette[18].tolist() == [119, 11, 32]
    assert palette[IGNORE_LABEL].tolist() == [0, 0, 0]


def test_unknown_ids_are_refused(root):
    write(root, "train", "aachen", 1, np.array([[34]], np.uint8))
    with pytest.raises(DatasetError, match=r"expected the labels 7, 8, 11, .*got 34 in 1 pixels"):
        open_cityscapes(root)[0]


def test_missing_files(root, tmp_path):
    with pytest.raises(DatasetError, match=r"expected a split \(train, val\), got 'test'"):
        open_cityscapes(root, "test")
    with pytest.raises(
        DatasetError, match="found no leftImg8bit with splits; unpack leftImg8bit_trainvaltest"
    ):
        open_cityscapes(root / "gtFine")
    next((root / "gtFine" / "train" / "aachen").iterdir()).unlink()
    with pytest.raises(DatasetError, match=r"missing: .*aachen_000001_000019_gtFine_labelIds\.png"):
        open_cityscapes(root)
