"""Opens datasets by name, for the command line."""

import difflib
import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from fcn_jax.datasets.ade20k import open_ade20k
from fcn_jax.datasets.camvid import open_camvid
from fcn_jax.datasets.cityscapes import open_cityscapes
from fcn_jax.datasets.coco import open_coco
from fcn_jax.datasets.dataset import DatasetError, SegmentationDataset
from fcn_jax.datasets.folder import open_folder
from fcn_jax.datasets.scenes import Scenes
from fcn_jax.datasets.split_lists import unknown_split
from fcn_jax.datasets.voc import open_sbd, open_voc
from fcn_jax.errors import SettingError

IN_FOLDERS: dict[str, Callable[..., SegmentationDataset]] = {
    "voc": open_voc,
    "sbd": open_sbd,
    "coco": open_coco,
    "camvid": open_camvid,
    "cityscapes": open_cityscapes,
    "ade20k": open_ade20k,
    "folder": open_folder,
}
SCENES = {"train": (400, 0), "val": (100, 1)}  # {split: (number of scenes, seed)}


def list_datasets() -> list[str]:
    """Lists the names that `open_dataset` knows."""
    return [*IN_FOLDERS, "scenes"]


def open_dataset(
    name: str,
    folder: str | os.PathLike | None = None,
    split: str | os.PathLike = "train",
    *,
    tolerant: bool = False,
    **options: Any,
) -> SegmentationDataset:
    """Opens a dataset by its name.

    Args:
      name: "voc", "sbd", "coco", "camvid", "cityscapes", "ade20k" or "folder", see `open_voc` and so on; or
        "scenes", which are generated (400 for training, 100 for validation, 128 x 128).
      folder: the folder with its files; None for scenes.
      split: "train", "val" or another split of the dataset.
      tolerant: whether pictures that lack a file are left out; the dataset's `faults` then list them. Without
        effect on a dataset that cannot do so.
      options: of the dataset, such as `void`, `values` and `zero_is_void` of a folder; None, False and empty
        ones count as not given.

    Raises:
      DatasetError: no dataset has this name (the message lists all names), the folder is missing, or the
        dataset finds an error.
      MissingPackageError: the dataset needs a package that is not installed.
      SettingError: the dataset does not have an option.
    """
    options = {option: value for option, value in options.items() if _given(value)}
    if name == "scenes":
        _check_options(name, options, ())
        return _open_scenes(folder, split)
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
    parameters = inspect.signature(IN_FOLDERS[name]).parameters
    _check_options(name, options, parameters)
    if tolerant and "tolerant" in parameters:
        options["tolerant"] = True
    return IN_FOLDERS[name](folder, split, **options)


def _open_scenes(folder: str | os.PathLike | None, split: str | os.PathLike) -> Scenes:
    if folder is not None:
        raise DatasetError(expected="no folder for scenes, which are generated", got=repr(os.fspath(folder)))
    if split not in SCENES:
        raise unknown_split(split, SCENES)
    count, seed = SCENES[os.fspath(split)]
    return Scenes(count, seed=seed)


def _given(value: Any) -> bool:
    return value is not None and value is not False and not (isinstance(value, str | Sequence) and not value)


def _check_options(name: str, options: Mapping[str, Any], known: Collection[str]) -> None:
    for option in options:
        if option not in known:
            raise SettingError(
                subject=option,
                expected=f"no such option for the dataset {name}",
                got=repr(options[option])[:80],
                hint="leave it out",
            )
