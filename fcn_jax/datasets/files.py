"""Reads pictures and labels from files, and makes a dataset of such pairs.

Pictures are read as stored, as in torchvision's datasets: `Image.open(path).convert("RGB")`. An EXIF
orientation is ignored, because published labels belong to the stored pixels.
"""

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, Sample, check_index
from fcn_jax.errors import FCNError

_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


@contextlib.contextmanager
def errors_name_the_file(path: Path, expected: str) -> Iterator[None]:
    """Turns any error of the block into a DatasetError that names the file.

    Args:
      path: the file.
      expected: what it should hold, for the message.
    """
    try:
        yield
    except DatasetError as error:
        raise error.about(path) from error.__cause__
    except FileNotFoundError as error:
        raise DatasetError(f"expected {expected}, there is no such file", path) from error
    except Exception as error:  # on damaged files decoders raise many kinds of errors
        said = str(error) if isinstance(error, FCNError) else f"{type(error).__name__}: {error}"
        raise DatasetError(f"cannot be read as {expected}: {said}", path) from error


def read_image(path: Path) -> np.ndarray:
    """Reads a picture as stored.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      DatasetError: the file is missing or damaged.
    """
    with errors_name_the_file(path, "a picture"), Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_label_image(path: Path) -> np.ndarray:
    """Reads a label image: a grey or palette image whose values are class indices.

    Returns:
      (H, W) uint8, or wider integers if the file has more than 8 bits; a palette's indices, not its colours.

    Raises:
      DatasetError: the file is missing or damaged, holds colours instead of indices, or is a JPEG.
    """
    with errors_name_the_file(path, "a label image"), Image.open(path) as image:
        if image.format == "JPEG":
            raise DatasetError(
                expected="labels in a format that keeps every value",
                got="a JPEG, which blurs them",
                hint="save the labels as PNG",
            )
        if image.mode not in _INDEX_MODES:
            raise DatasetError(
                expected="labels as class indices (a grey or palette image)",
                got=f"a picture in colours (mode {image.mode})",
                hint="convert its colours to indices first",
            )
        labels = np.asarray(image)
        return labels.astype(np.uint8) if labels.dtype == bool else labels


def read_palette(path: Path) -> np.ndarray | None:
    """Reads the colours of a label image.

    Returns:
      (256, 3) uint8 by label, PASCAL VOC's for labels that the file has no colour for; None if the image has
      no palette, has only grey, or cannot be read.
    """
    # No error here: reading the labels raises it.
    with contextlib.suppress(Exception), Image.open(path) as image:
        if image.mode == "P" and image.palette is not None:
            found = np.frombuffer(image.palette.tobytes(), np.uint8).reshape(-1, len(image.palette.mode))
            if (found[:, :1] != found[:, :3]).any():
                colours = voc_palette(256)
                colours[: len(found)] = found[:256, :3]
                return colours
    return None


class FileDataset:
    """A dataset of pairs: an image file and a label file.

    Args:
      pairs: (image, labels) paths, in order.
      categories: names of the classes by index.
      void: label values that mean "no class" in the files, besides 255; they become 255.
      palette: (256, 3) uint8; PASCAL VOC's if not given.
      read_image: reads a picture as (H, W, 3) uint8.
      read_labels: reads a label file as (H, W) integers.

    Raises:
      DatasetError: there are no pairs, files are missing, or there are more than 255 classes; or, for a
        sample, a file is damaged, the labels have another size, or a label is beyond the classes.
    """

    ignore_label = IGNORE_LABEL

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        categories: Sequence[str],
        *,
        void: Sequence[int] = (),
        palette: np.ndarray | None = None,
        read_image: Callable[[Path], np.ndarray] = read_image,
        read_labels: Callable[[Path], np.ndarray] = read_label_image,
    ):
        if not pairs:
            raise DatasetError(expected="at least one picture with labels", got="none")
        if not 1 <= len(categories) <= IGNORE_LABEL:
            raise DatasetError(expected=f"1 to {IGNORE_LABEL} categories", got=str(len(categories)))
        self.pairs = tuple((Path(image), Path(labels)) for image, labels in pairs)
        check_files_exist(path for pair in self.pairs for path in pair)
        self.categories = tuple(categories)
        self.palette = voc_palette(256) if palette is None else palette
        self.void = tuple(void)
        self._read_image, self._read_labels = read_image, read_labels

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """Returns a picture's name, the stem of its file."""
        return self.pairs[check_index(index, len(self))][0].stem

    def __getitem__(self, index: int) -> Sample:
        """Reads a picture and its labels.

        Raises:
          IndexError: no picture has this index.
          DatasetError: see the class.
        """
        image_path, label_path = self.pairs[check_index(index, len(self))]
        image, labels = self._read_image(image_path), self._read_labels(label_path)
        if labels.shape != image.shape[:2]:
            raise DatasetError(
                path=label_path,
                expected=f"labels of the picture's size, {image.shape[1]} x {image.shape[0]} ({image_path})",
                got=" x ".join(map(str, labels.shape[::-1])),
            )
        unknown = labels == IGNORE_LABEL
        for value in self.void:
            unknown |= labels == value
        wrong = ~unknown & ((labels < 0) | (labels >= len(self.categories)))
        if wrong.any():
            found = np.unique(labels[wrong])
            classes = len(self.categories)
            raise DatasetError(
                path=label_path,
                expected=f"labels from 0 to {classes - 1} ({classes} classes), or {IGNORE_LABEL} for none",
                got=f"{shown(found, most=8)} in {wrong.sum():,} pixels",
                hint="correct the file or the list of classes",
            )
        return Sample(image, np.where(unknown, np.uint8(IGNORE_LABEL), labels.astype(np.uint8)))


def shown(things: Iterable, most: int) -> str:
    """Lists the first `most` things for a message, and "..." if there are more."""
    things = list(things)
    return ", ".join(map(str, things[:most])) + (", ..." if len(things) > most else "")


def check_files_exist(paths: Iterable[Path]) -> None:
    """Checks that all files exist, so that a missing one is found now, not in the middle of an epoch.

    Raises:
      DatasetError: files are missing; the message counts them and names the first few.
    """
    wanted = [(*os.path.split(path), path) for path in paths]
    listings: dict[str, set[str]] = defaultdict(set)  # lists each folder once
    for folder in {folder for folder, _, _ in wanted}:
        with contextlib.suppress(OSError):
            listings[folder] = set(os.listdir(folder or "."))
    # A file system may ignore upper and lower case, so a name that is not listed may still exist.
    missing = [path for folder, name, path in wanted if name not in listings[folder] and not path.is_file()]
    if missing:
        share = f"{len(missing):,} of the {len(wanted):,} files of this split"
        raise DatasetError(
            f"{share} are missing: {shown(missing, most=3)}",
            hint="unpack the whole dataset, or list only what is there",
        )
