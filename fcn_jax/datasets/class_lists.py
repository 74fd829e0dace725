"""Reads the lists of classes that people and labelling tools write: names, with colours or label values.

classes.txt      road                   or with colours: road 128 64 128; 128 64 128 road; road #804080
labelmap.txt     road:128,64,128::      CVAT
_classes.csv     1, road                Roboflow: the value in the label files, and the name
class_dict.csv   road,128,64,128        CamVid as others hand it on
"""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.files import errors_name_the_file

Colour = tuple[int, int, int]


class ClassList(NamedTuple):
    """The classes of a dataset.

    Attributes:
      path: the file that lists them.
      names: by index.
      colours: by index, in label files in colours; None if the file has none.
      values: by index, in the label files; None if the file has none.
    """

    path: Path
    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None = None
    values: tuple[int, ...] | None = None


class _Row(NamedTuple):
    name: str
    colour: Colour | None = None
    value: int | None = None


_CHANNELS = r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})"
NAME_AND_CHANNELS = re.compile(rf"(?P<name>.*[^\s:,;])(?:\s*[:,;]\s*|\s+){_CHANNELS}[\s,;]*")
CHANNELS_AND_NAME = re.compile(rf"{_CHANNELS}(?:\s*[:,;]\s*|\s+)(?P<name>\S.*)")
NAME_AND_HEX = re.compile(
    r"(?P<name>.*[^\s:,;])(?:\s*[:,;]\s*|\s+)#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})"
)
COLOURED_LINES = ((NAME_AND_CHANNELS, 10), (CHANNELS_AND_NAME, 10), (NAME_AND_HEX, 16))


def _plain_lines(lines: list[str]) -> list[_Row]:
    """Reads classes.txt: colours only if every line has one, since a name may end in numbers."""
    for pattern, base in COLOURED_LINES:
        found = [pattern.fullmatch(line.strip()) for line in lines]
        if found and all(found):
            rows = [
                _Row(match["name"].strip(), _colour([match[part] for part in _parts(pattern)], base))
                for match in found
                if match
            ]
            if all(row.colour for row in rows):
                return rows
    return [_Row(line.strip()) for line in lines]


def _parts(pattern: re.Pattern) -> list[int]:
    return [part for part in range(1, pattern.groups + 1) if part != pattern.groupindex["name"]]


def _labelmap(lines: list[str]) -> list[_Row]:
    rows = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            name, channels, _, _ = line.rsplit(":", 3)
            rows.append(_Row(name.strip(), _colour(channels.split(","))))
    return rows


def _values_and_names(lines: list[str]) -> list[_Row]:
    rows = csv.reader(lines[1:], skipinitialspace=True)
    return [_Row(row[1].strip(), value=int(row[0])) for row in rows if row]


def _names_and_channels(lines: list[str]) -> list[_Row]:
    rows = csv.reader(lines[1:], skipinitialspace=True)
    return [_Row(row[0].strip(), _colour(row[1:4])) for row in rows if row]


FORMS: dict[str, tuple[str, Callable[[list[str]], list[_Row]]]] = {
    "classes.txt": ("the names of the classes, one a line, each once and none empty", _plain_lines),
    "labelmap.txt": ("CVAT's classes, one a line (road:128,64,128::)", _labelmap),
    "_classes.csv": (
        "Roboflow's classes: a title, then value and name a line (1, road)",
        _values_and_names,
    ),
    "class_dict.csv": ("a title, then a name and a colour a line (road,128,64,128)", _names_and_channels),
}
"""{name of a file: its form in words, and what reads its lines}."""


def find_class_list(folder: Path) -> ClassList | None:
    """Reads the first list of classes in a folder, in the order of `FORMS`; None if there is none.

    Raises:
      DatasetError: the list cannot be read, or names a class, a colour or a value twice.
    """
    for name in FORMS:
        if (folder / name).is_file():
            return read_class_list(folder / name)
    return None


def read_class_list(path: Path) -> ClassList:
    """Reads a list of classes, by the name of its file. Raises as `find_class_list` does."""
    expected, parse = FORMS[path.name]
    with errors_name_the_file(path, "names of classes"):
        lines = path.read_text(encoding="utf-8-sig").strip().splitlines()
    try:
        rows = parse(lines)
    except (ValueError, IndexError) as error:
        raise DatasetError(path=path, expected=expected, got=repr(lines)[:120]) from error
    names, colours, values = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    for column in (names, colours, values):
        twice = [each for each in column if each is not None and column.count(each) > 1]
        if twice:
            got = f"{twice[0]!r} twice" if column is not names else str(names)
            raise DatasetError(path=path, expected=expected, got=got)
    if not names or not all(names):
        raise DatasetError(path=path, expected=expected, got=str(names))
    return ClassList(
        path,
        tuple(names),
        None if None in colours else tuple(colours),
        None if None in values else tuple(values),
    )


def _colour(channels: list[str], base: int = 10) -> Colour | None:
    """Reads a colour; None if a channel is beyond 255. Raises ValueError for what is no number."""
    red, green, blue = (int(channel, base) for channel in channels)
    return (red, green, blue) if max(red, green, blue) <= 255 else None
