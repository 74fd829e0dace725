"""Reads names of classes from a text file."""

import os
from pathlib import Path

from fcn_jax.errors import SettingError


def read_categories(path: str | os.PathLike, num_classes: int) -> tuple[str, ...]:
    """Reads the names of classes, one on each line; empty lines do not count.

    Raises:
      SettingError: the file is not text, or does not have `num_classes` names.
      OSError: the file cannot be read.
    """
    expected = f"{num_classes} names, a class on each line"
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SettingError(path=path, expected=expected, got="a file that is not UTF-8 text") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != num_classes:
        one_short = len(names) == num_classes - 1
        hint = "the background is a class too, the first" if one_short else None
        raise SettingError(path=path, expected=expected, got=str(len(names)), hint=hint)
    return names
