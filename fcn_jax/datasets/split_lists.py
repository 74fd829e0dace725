"""Reads the lists of splits: text files with a picture on each line."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.file_names import composed
from fcn_jax.datasets.files import errors_name_the_file

VALIDATION_SHARE = 10  # one picture in ten


def data_folder(folder: str | os.PathLike) -> Path:
    """Returns the folder as a path, with ~ expanded.

    Raises:
      DatasetError: the folder does not exist.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DatasetError("expected the folder of a dataset, there is no such folder", path)
    return path


def read_list(split: str | os.PathLike, lists: Mapping[str, Path], note: str = "") -> list[str]:
    """Reads the lines of a split's list, without the empty ones.

    Args:
      split: a name in `lists`, or the path of another list in the same form.
      lists: the dataset's own lists by name.
      note: added to the error for an unknown split.

    Raises:
      DatasetError: the split is neither a name nor a file, or the list cannot be read or is empty.
    """
    path = lists.get(os.fspath(split), Path(split).expanduser())
    if os.fspath(split) not in lists and not path.is_file():
        raise unknown_split(split, lists, f" or the path of a list file{note}")
    with errors_name_the_file(path, "a list of pictures"):
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not lines:
        raise DatasetError(path=path, expected="a list of pictures, one a line", got="an empty file")
    return lines


def unknown_split(split: str | os.PathLike, splits: Iterable[str], also: str = "") -> DatasetError:
    """Makes the error for a split that the dataset does not have; it lists all splits."""
    known = ", ".join(splits) or "none found"
    return DatasetError(expected=f"a split ({known}){also}", got=repr(os.fspath(split)))


def part_of(names: Sequence[str], part: str) -> list[int]:
    """Chooses one picture in ten for "val", by the hash of its name, and the others for "train".

    A picture keeps its part when the folder moves. The stems of the names count, with composed letters.

    Returns:
      The indices of the part's names, in order.
    """
    keys = [composed(os.path.splitext(name)[0]).encode("utf-8", "surrogateescape") for name in names]
    drawn = sorted(range(len(names)), key=lambda index: hashlib.sha256(keys[index]).digest())
    chosen = set(drawn[: max(1, round(len(names) / VALIDATION_SHARE))])
    return [index for index in range(len(names)) if (index in chosen) == (part == "val")]
