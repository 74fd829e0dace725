"""VOC and SBD as torchvision reads them, including a picture with an EXIF rotation."""

import numpy as np
import pytest

from fcn_jax.datasets import open_sbd, open_voc
from fcn_jax.visualization import label_image
from tests.datasets.made_files import random_image, random_labels, turned, write
from tests.parity.torch_reference import torchvision

NAMES = ("2007_01", "2007_02")


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) == len(NAMES)
    for (image, labels), (their_image, their_labels) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(image, np.asarray(their_image))
        np.testing.assert_array_equal(labels, np.asarray(their_labels))


def test_voc(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("ImageSets/Segmentation", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(NAMES))
    for seed, name in enumerate(NAMES):
        exif = {"exif": turned(6)} if seed else {}
        write(root / "JPEGImages" / f"{name}.jpg", random_image(seed), **exif)
        label_image(random_labels(seed, 21)).save(root / "SegmentationClass" / f"{name}.png")
    theirs = torchvision.datasets.VOCSegmentation(tmp_path, year="2012", image_set="train")
    assert_same(open_voc(tmp_path, "train"), theirs)


def test_sbd(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    (tmp_path / "cls").mkdir()
    (tmp_path / "train.txt").write_text("\n".join(NAMES))
    for seed, name in enumerate(NAMES):
        write(tmp_path / "img" / f"{name}.jpg", random_image(seed))
        savemat(tmp_path / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": random_labels(seed, 21)}})
    theirs = torchvision.datasets.SBDataset(str(tmp_path), image_set="train", mode="segmentation")
    assert_same(open_sbd(tmp_path, "train"), theirs)
