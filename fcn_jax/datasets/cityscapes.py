"""Cityscapes: street scenes of 2048 x 1024 in 19 classes, 2,975 for training and 500 for validation.

    DIR/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
    DIR/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png

Label files have 34 ids, of which 19 are trained and scored; the rest becomes 255. If a split has only
files with train ids (..._gtFine_labelTrainIds.png), which the authors' scripts make, these are read. The test
set has no public labels.

Source: Cordts et al. (2016), "The Cityscapes dataset for semantic urban scene understanding", and the
authors' cityscapesScripts.
"""

import os

import numpy as np

from fcn_jax.categories import CITYSCAPES_CATEGORIES, CITYSCAPES_PALETTE
from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.files import FileDataset
from fcn_jax.datasets.split_lists import data_folder, unknown_split

IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The id of each class in the label files, by train id."""
VOID_IDS = tuple(value for value in range(34) if value not in IDS)
PICTURE, LABEL_IDS, TRAIN_IDS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"


def open_cityscapes(
    folder: str | os.PathLike, split: str | os.PathLike = "train", *, tolerant: bool = False
) -> FileDataset:
    """Opens Cityscapes' finely labelled pictures with the 19 classes.

    Args:
      folder: holds leftImg8bit and gtFine.
      split: "train", "val", or another folder in leftImg8bit.
      tolerant: see `FileDataset`.

    Raises:
      DatasetError: folder, split or files do not exist; see `FileDataset`.
    """
    root = data_folder(folder)
    pictures = root / "leftImg8bit"
    splits = sorted(path.name for path in pictures.iterdir() if path.is_dir()) if pictures.is_dir() else []
    if not splits:
        raise DatasetError(
            "expected Cityscapes' folders leftImg8bit and gtFine, found no leftImg8bit with splits",
            root,
            hint="unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there",
        )
    if os.fspath(split) not in splits:
        raise unknown_split(split, splits)
    found = sorted((pictures / split).glob(f"*/*{PICTURE}"))
    labels = root / "gtFine" / split
    ids = any(labels.glob(f"*/*{LABEL_IDS}")) or not any(labels.glob(f"*/*{TRAIN_IDS}"))
    ending = LABEL_IDS if ids else TRAIN_IDS
    pairs = [(path, labels / path.parent.name / (path.name.removesuffix(PICTURE) + ending)) for path in found]
    return FileDataset(
        pairs,
        CITYSCAPES_CATEGORIES,
        void=VOID_IDS if ids else (),
        values=IDS if ids else None,
        palette=_palette(),
        tolerant=tolerant,
    )


def _palette() -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(CITYSCAPES_PALETTE)] = CITYSCAPES_PALETTE
    return colours
