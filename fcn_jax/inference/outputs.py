"""What `Segmentation.save` writes: kinds of drawings, and the part of the file name that each gets."""

import difflib
import hashlib
import operator
import os
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from fcn_jax.errors import SettingError, WrongTypeError

KINDS = ("labels", "overlay", "figure", "heatmap")
"""The kinds of drawings, by the names that `write` takes."""


MOST_BYTES = {"stem": 160, "part": 80}
"""Of the two parts of a file name; file systems take 255 in all."""


def fitting(name: str, what: Literal["stem", "part"] = "stem") -> str:
    """Shortens a part of a file name that is too long; a hash of the whole keeps it apart from others."""
    most = MOST_BYTES[what]
    if 4 * len(name) <= most or len(content := os.fsencode(name)) <= most:
        return name
    short = content[: most - 9].decode("utf-8", "ignore")
    return f"{short}~{hashlib.sha256(content).hexdigest()[:8]}"


class Output(NamedTuple):
    """A drawing to write.

    Attributes:
      kind: one of `KINDS`.
      category: index of the class of a heat map, or of the one that a figure shows; None for the largest.
    """

    kind: str
    category: int | None = None


def planned_outputs(
    categories: Sequence[str],
    classes: str | int | Iterable[str | int] = (),
    write: str | Iterable[str] | None = None,
) -> dict[str, Output]:
    """Plans which drawings to write for each picture.

    Args:
      categories: names of the model's classes by index.
      classes: names or indices of classes that get a heat map. The figure shows the first.
      write: some of `KINDS`. By default the labels, the overlay, the figure, and heat maps if there are
        classes.

    Returns:
      {part: output}, in the order of writing; the file of a drawing is called <stem>_<part>.png.

    Raises:
      SettingError: a class or a kind does not exist, or heat maps are asked for without classes.
    """
    classes = [classes] if isinstance(classes, str | int) else classes
    indices = list(dict.fromkeys(class_index(category, categories) for category in classes))
    kinds = check_kinds(write, bool(indices))
    outputs = {kind: Output(kind) for kind in ("labels", "overlay") if kind in kinds}
    if "heatmap" in kinds:
        outputs |= {_file_part(index, categories): Output("heatmap", index) for index in indices}
    if "figure" in kinds:
        outputs["figure"] = Output("figure", indices[0] if indices else None)
    return outputs


def check_kinds(write: str | Iterable[str] | None, has_classes: bool) -> tuple[str, ...]:
    """Returns the kinds of drawings to write, each once; see `planned_outputs`.

    Raises:
      SettingError: a kind does not exist, or heat maps are asked for without classes.
    """
    if write is None:
        return KINDS if has_classes else tuple(kind for kind in KINDS if kind != "heatmap")
    kinds = tuple(dict.fromkeys([write] if isinstance(write, str) else write))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        got = ", ".join(map(repr, unknown)) or "nothing"
        raise SettingError(subject="write", expected=f"some of {', '.join(KINDS)}", got=got)
    if "heatmap" in kinds and not has_classes:
        raise SettingError(
            "a heatmap shows the probability of one class, and no class is named",
            subject="write",
            hint="name the classes with {classes}, or leave heatmap out",
        )
    return kinds


def class_index(category: str | int, categories: Sequence[str]) -> int:
    """Finds a class by name or index.

    Raises:
      SettingError: the class does not exist; the message gives near matches and all names.
      WrongTypeError: `category` is neither a name nor an index.
    """
    if isinstance(category, str):
        if category in categories:
            return categories.index(category)
        near = difflib.get_close_matches(category.lower(), categories)
        hint = f"did you mean {' or '.join(map(repr, near))}? There" if near else "there"
        raise SettingError(expected="a class", got=repr(category), hint=f"{hint} are {', '.join(categories)}")
    try:
        index = operator.index(category)
    except TypeError as error:
        raise WrongTypeError(expected="a class by name or index", got=repr(category)) from error
    if not 0 <= index < len(categories):
        raise SettingError(expected=f"a class from 0 to {len(categories) - 1}", got=str(index))
    return index


def _file_part(index: int, categories: Sequence[str]) -> str:
    """Makes a safe and unique part of a file name from the name of a class."""

    def plain(name: str) -> str:
        return re.sub(r"[^\w.-]+", "_", name).strip("._")

    part = fitting(plain(categories[index]), "part")
    taken = ["", "labels", "overlay", "figure"]
    taken += [plain(name).lower() for other, name in enumerate(categories) if other != index]
    return f"{part}_{index}".lstrip("_") if part.lower() in taken else part
