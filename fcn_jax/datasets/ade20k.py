"""ADE20K in the form of the scene parsing challenge: 20,210 pictures for training, 2,000 for validation.

    DIR/images/training/ADE_train_00000001.jpg   DIR/annotations/training/ADE_train_00000001.png

150 classes. In the label files 0 means none of them, and class i has the value i + 1.

Source: Zhou et al. (2017), "Scene parsing through ADE20K dataset"; the archive ADEChallengeData2016.
"""

import os

import numpy as np

from fcn_jax.categories import ADE20K_CATEGORIES, ADE20K_PALETTE
from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.files import FileDataset
from fcn_jax.datasets.split_lists import data_folder, unknown_split

ARCHIVE = "ADEChallengeData2016"
SPLITS = {"train": "training", "val": "validation"}


def open_ade20k(
    folder: str | os.PathLike, split: str | os.PathLike = "train", *, tolerant: bool = False
) -> FileDataset:
    """Opens ADE20K's pictures with the challenge's 150 classes.

    Args:
      folder: ADEChallengeData2016, or the folder that holds it.
      split: "train" or "val".
      tolerant: see `FileDataset`.

    Raises:
      DatasetError: folder, split or files do not exist; see `FileDataset`.
    """
    root = data_folder(folder)
    root = next((each for each in (root / ARCHIVE, root) if (each / "images").is_dir()), None)
    if root is None or not (root / "annotations").is_dir():
        raise DatasetError(
            f"expected {ARCHIVE} (images, annotations) or the folder that holds it, found neither",
            folder,
            hint=f"unpack {ARCHIVE}.zip there",
        )
    part = SPLITS.get(os.fspath(split))
    if part is None:
        raise unknown_split(split, SPLITS)
    pictures = sorted((root / "images" / part).glob("*.jpg"))
    pairs = [(path, root / "annotations" / part / f"{path.stem}.png") for path in pictures]
    values = range(1, len(ADE20K_CATEGORIES) + 1)
    return FileDataset(
        pairs, ADE20K_CATEGORIES, void=[0], values=values, palette=_palette(), tolerant=tolerant
    )


def _palette() -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(ADE20K_PALETTE)] = ADE20K_PALETTE
    return colours
