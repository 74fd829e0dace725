"""Finds a font that has given letters: Pillow's own, one of the system's, or those that come with matplotlib.

A font that lacks a letter draws its ".notdef" in place of it, mostly an empty box. So a letter is there if it
looks otherwise than a code that is no letter at all.
"""

import functools
import importlib.util
import os
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from PIL import ImageFont, features

NO_LETTER = "\uffff"
SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
BOXES = ("lastresort", "adobeblank", "notdef")
"""Fonts that claim every letter and draw the same box for many."""
SPECIAL = ("bold", "italic", "oblique", "mono", "condensed", "light", "thin", "black", "serif", "math")
"""Parts of the names of fonts that are taken last."""


def font(size: float, letters: Iterable[str] = "") -> ImageFont.FreeTypeFont | None:
    """Returns a font that has all these letters, Pillow's own if possible; None if there is none here."""
    path = _font_file(frozenset(filter(_is_drawn, letters)))
    if path is None:
        return None
    return _own(size) if path == "" else ImageFont.truetype(path, size)


def has_one(letters: Iterable[str]) -> bool:
    """Returns whether one font has all these letters."""
    return _font_file(frozenset(filter(_is_drawn, letters))) is not None


def is_in_pillows(letter: str) -> bool:
    """Returns whether Pillow's own font has a letter."""
    return not _is_drawn(letter) or _has("", letter)


def joins_letters() -> bool:
    """Returns whether Pillow lays out scripts that join letters or run from the right: it needs libraqm."""
    return bool(features.check("raqm"))


@functools.lru_cache(maxsize=1024)
def _font_file(letters: frozenset[str]) -> str | None:
    """Returns a font's path; "" for Pillow's own."""
    return next((path for path in ("", *_files()) if all(_has(path, each) for each in letters)), None)


@functools.lru_cache(maxsize=2**16)
def _has(path: str, letter: str) -> bool:
    typeface = _opened(path)
    if typeface is None:
        return False
    try:
        drawn: Any = typeface.getmask(letter)
        return drawn.getbbox() is not None and bytes(drawn) != _notdef(path)
    except (OSError, ValueError):  # a damaged font
        return False


@functools.lru_cache(maxsize=1024)
def _notdef(path: str) -> bytes:
    drawn: Any = cast(ImageFont.FreeTypeFont, _opened(path)).getmask(NO_LETTER)
    return bytes(drawn)


@functools.lru_cache(maxsize=32)
def _opened(path: str) -> ImageFont.FreeTypeFont | None:
    try:
        return _own(24) if path == "" else ImageFont.truetype(path, 24, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        return None


def _own(size: float) -> ImageFont.FreeTypeFont:
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))  # with a size, never a bitmap


def _is_drawn(letter: str) -> bool:
    return not letter.isspace() and unicodedata.category(letter) not in ("Cf", "Cc")


@functools.cache
def _files() -> tuple[str, ...]:
    """Lists the fonts of this machine, plain ones first; in the order of their names."""
    found = {
        os.path.join(folder, name)
        for top in _folders()
        for folder, _, names in os.walk(top)
        for name in names
        if name.lower().endswith(SUFFIXES) and not any(box in name.lower() for box in BOXES)
    }
    return tuple(sorted(found, key=lambda path: (_is_special(path), path)))


def _is_special(path: str) -> int:
    name = os.path.basename(path).lower().replace("sansserif", "sans")
    return sum(part in name for part in SPECIAL) - ("sans" in name)


def _folders() -> list[Path]:
    """Returns the folders where systems keep fonts, and matplotlib's, if it is installed."""
    if sys.platform == "win32":
        windows, local = os.environ.get("WINDIR", r"C:\Windows"), os.environ.get("LOCALAPPDATA")
        folders = [Path(windows, "Fonts")]
        folders += [Path(local, "Microsoft", "Windows", "Fonts")] if local else []
    elif sys.platform == "darwin":
        folders = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), *_at_home("Library/Fonts")]
    else:
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        folders = [Path(each, "fonts") for each in shared.split(":") if each]
        folders += _at_home(".local/share/fonts", ".fonts")
    matplotlib = importlib.util.find_spec("matplotlib")  # not imported
    if matplotlib is not None and matplotlib.origin:
        folders.append(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf")
    return folders


def _at_home(*names: str) -> list[Path]:
    try:
        home = Path.home()
    except RuntimeError:  # it has none
        return []
    return [home / name for name in names]
