"""ADE20K: layout, the shift of the labels, classes and colours, errors."""

import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image

from fcn_jax.categories import ADE20K_CATEGORIES, ADE20K_PALETTE
from fcn_jax.datasets import IGNORE_LABEL, DatasetError, open_ade20k, open_dataset


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    for part, name, labels in (
        ("training", "ADE_train_00000002", [[0, 1, 150]]),
        ("training", "ADE_train_00000001", [[2, 2, 2]]),
        ("validation", "ADE_val_00000001", [[0, 0, 13]]),
    ):
        for kind in ("images", "annotations"):
            (root / kind / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((1, 3, 3), np.uint8)).save(root / "images" / part / f"{name}.jpg")
        Image.fromarray(np.array(labels, np.uint8)).save(root / "annotations" / part / f"{name}.png")
    return root


def test_label_0_is_none_and_the_others_shift_by_one(root):
    dataset = open_ade20k(root)
    assert [dataset.name(i) for i in range(len(dataset))] == ["ADE_train_00000001", "ADE_train_00000002"]
    assert dataset[1].labels.tolist() == [[IGNORE_LABEL, 0, 149]]
    assert dataset[1].labels.dtype == np.uint8
    assert pickle.loads(pickle.dumps(dataset))[0].labels.tolist() == [[1, 1, 1]]


def test_the_folder_above_and_the_validation_pictures(root):
    (sample,) = [open_dataset("ade20k", root.parent, "val")[0]]
    assert sample.labels.tolist() == [[255, 255, 12]]
    assert ADE20K_CATEGORIES[12] == "person"


def test_classes_and_colours(root):
    assert len(ADE20K_CATEGORIES) == len(set(ADE20K_CATEGORIES)) == len(ADE20K_PALETTE) == 150
    assert (ADE20K_CATEGORIES[0], ADE20K_CATEGORIES[149]) == ("wall", "flag")
    assert (ADE20K_PALETTE[0], ADE20K_PALETTE[149]) == ((120, 120, 120), (92, 0, 255))
    # Of "120 120 120\n180 120 120\n...", the authors' colours as mmsegmentation lists them.
    text = "\n".join(" ".join(map(str, colour)) for colour in ADE20K_PALETTE)
    assert hashlib.sha256(text.encode()).hexdigest().startswith("7d6ac2551a6c668d")
    assert open_ade20k(root).palette[1].tolist() == [180, 120, 120]


def test_labels_beyond_the_classes_are_refused(root):
    Image.fromarray(np.array([[151, 1, 1]], np.uint8)).save(
        root / "annotations" / "training" / "ADE_train_00000001.png"
    )
    with pytest.raises(
        DatasetError,
        match=r"expected the labels 1 to 150 \(150 classes\), or 0, 255 for none, got 151 in 1 pix",
    ):
        open_ade20k(root)[0]


def test_missing_folders_and_splits(root, tmp_path):
    with pytest.raises(DatasetError, match=r"expected a split \(train, val\), got 'test'"):
        open_ade20k(root, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"expected ADEChallengeData2016 .* found neither; unpack"):
        open_ade20k(tmp_path / "empty")
