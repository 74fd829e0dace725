"""Opens datasets by name, for the command line."""

import difflib
import os
from collections.abc import Callable

from fcn_jax.datasets.camvid import open_camvid
from fcn_jax.datasets.coco import open_coco
from fcn_jax.datasets.dataset import DatasetError, SegmentationDataset
from fcn_jax.datasets.folder import open_folder
from fcn_jax.datasets.scenes import Scenes
from fcn_jax.datasets.split_lists import unknown_split
from fcn_jax.datasets.voc import open_sbd, open_voc

IN_FOLDERS: dict[str, Callable[..., SegmentationDataset]] = {
    "voc": open_voc,
    "sbd": open_sbd,
    "coco": open_coco,
    "camvid": open_camvid,
    "folder": open_folder,
}
SCENES = {"train": (400, 0), "val": (100, 1)}  # {split: (number of scenes, seed)}


def list_datasets() -> list[str]:
    """Lists the names that `open_dataset` knows."""
    return [*IN_FOLDERS, "scenes"]


def open_dataset(
    name: str, folder: str | os.PathLike | None = None, split: str | os.PathLike = "train"
) -> SegmentationDataset:
    """Opens a dataset by its name.

    Args:
      name: "voc", "sbd", "coco", "camvid" or "folder", see `open_voc` and so on; or "scenes", which are
        generated (400 for training, 100 for validation, 128 x 128).
      folder: the folder with its files; None for scenes.
      split: "train", "val" or another split of the dataset.

    Raises:
      DatasetError: no dataset has this name (the message lists all names), the folder is missing, or the
        dataset finds an error.
      MissingPackageError: the dataset needs a package that is not installed.
    """
    if name == "scenes":
        if folder is not None:
            raise DatasetError(
                expected="no folder for scenes, which are generated", got=repr(os.fspath(folder))
            )
        if split not in SCENES:
            raise unknown_split(split, SCENES)
        count, seed = SCENES[os.fspath(split)]
        return Scenes(count, seed=seed)
    if name not in IN_FOLDERS:
        near = difflib.get_close_matches(name.lower(), list_datasets(), n=1)
        raise DatasetError(
            expected=f"a dataset, one of {', '.join(list_datasets())}",
            got=repr(name),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    if folder is None:
        raise DatasetError(
            expected=f"the folder that holds the dataset ({name})", got="none", hint="give it as {folder}"
        )
    return IN_FOLDERS[name](folder, split)
