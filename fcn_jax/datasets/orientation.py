"""Pictures that EXIF asks to turn: labels and outlines may be for the picture as stored or as turned."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.faults import Fault
from fcn_jax.datasets.files import errors_name_the_file

T = TypeVar("T")

OTHERS_READ = {".npy", ".tif", ".tiff", ".heic", ".heif", ".hif"}  # suffixes that Pillow may not know
_EXIF_ORIENTATION = 0x0112
_TURNS, _QUARTER_TURNS = range(2, 9), range(5, 9)


def orientation_of(image: Image.Image) -> int:
    """Returns the EXIF orientation; 1 is upright."""
    return image.getexif().get(_EXIF_ORIENTATION, 1)


def read_header(path: Path, read: Callable[[Image.Image], T]) -> T | None:
    """Reads something of a picture's header; None if Pillow does not know the file, but others may."""
    try:
        with Image.open(path) as image:
            return read(image)
    except UnidentifiedImageError:
        if path.suffix.lower() in OTHERS_READ:
            return None
        raise


def check_upright(image: Image.Image) -> None:
    """Raises DatasetError if EXIF asks to turn a picture."""
    orientation = orientation_of(image)
    if orientation in _TURNS:
        raise DatasetError(
            fault=Fault.ORIENTATION,
            expected="a picture that is stored upright",
            got=f"one that EXIF asks to turn (orientation {orientation})",
            hint="its labels may fit either orientation: turn the pixels, remove the tag "
            "(PIL.ImageOps.exif_transpose) and check that the labels fit",
        )


def read_as_drawn(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """Reads a picture as its outlines show it, stored or turned: (H, W, 3) uint8.

    Args:
      path: the picture.
      size: the (height, width) that the outlines are for, if known.

    Raises:
      DatasetError: see `is_drawn_turned`; or the file is missing or damaged.
    """
    with errors_name_the_file(path, "a picture", Fault.PICTURE), Image.open(path) as image:
        turned = is_drawn_turned(image, size)
        return np.asarray((ImageOps.exif_transpose(image) if turned else image).convert("RGB"))


def is_drawn_turned(image: Image.Image, size: tuple[int, int] | None) -> bool:
    """Whether outlines for a (height, width) are for the picture as EXIF turns it.

    Raises:
      DatasetError: the picture has another size, or either way could be meant.
    """
    stored, orientation = image.size[::-1], orientation_of(image)
    shapes = {stored} | ({stored[::-1]} if orientation in _QUARTER_TURNS else set())
    if size is not None and size not in shapes:
        raise DatasetError(
            fault=Fault.SIZE,
            expected=f"a picture of the annotations' {size[1]} x {size[0]}",
            got=f"{stored[1]} x {stored[0]}",
        )
    if size is None or len(shapes) == 1:
        check_upright(image)
    return orientation in _TURNS and size != stored
