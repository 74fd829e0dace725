"""Datasets whose pictures and labels lie in files: reading the two, and pairs of them as a dataset.

Pictures are taken as they are stored, as torchvision's datasets do, `Image.open(path).convert("RGB")`:
without the turn that EXIF may ask for, since published labels belong to the stored pixels.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, Sample, check_index

_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


@contextlib.contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Turns whatever goes wrong with a file into a DatasetError that names it."""
    try:
        yield
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: expected {expected}, there is no such file") from error
    except Exception as error:  # on damaged files decoders raise almost anything
        raise DatasetError(
            f"{path}: cannot be read as {expected}: {type(error).__name__}: {error}"
        ) from error


def read_image(path: Path) -> np.ndarray:
    """Reads a picture as it is stored.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      DatasetError: missing or damaged.
    """
    with reading(path, "a picture"), Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_label_image(path: Path) -> np.ndarray:
    """Reads a label map as it is: a grey or a palette image whose values are class indices.

    Returns:
      (H, W) uint8, or wider integers if the file has more than 8 bits; a palette's indices, not its colours.

    Raises:
      DatasetError: missing, damaged, a picture in colours where indices were expected, or a JPEG.
    """
    with reading(path, "a label image"), Image.open(path) as image:
        if image.format == "JPEG":
            raise DatasetError(
                f"{path}: expected labels in a format that keeps every value, got a JPEG, which blurs them; "
                f"save the labels as PNG"
            )
        if image.mode not in _INDEX_MODES:
            raise DatasetError(
                f"{path}: expected labels as class indices (a grey or palette image), got a picture in "
                f"colours (mode {image.mode}); convert its colours to indices first"
            )
        labels = np.asarray(image)
        return labels.astype(np.uint8) if labels.dtype == bool else labels


class FileDataset:
    """Pairs of an image file and a label file.

    Args:
      pairs: (image, labels) paths, in order.
      categories: names of the classes by index.
      void: label values of the files that mean "no class"; they become 255. 255 itself always does.
      palette: (256, 3) uint8; PASCAL VOC's if not given.
      read_image: reads a picture as (H, W, 3) uint8.
      read_labels: reads a label file as (H, W) integers.

    Raises:
      DatasetError: no pairs, files that are missing, more than 255 classes; or, when asked for a sample, a
        damaged file, labels of another size than the picture, a label beyond the classes.
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
            raise DatasetError("expected at least one picture with labels, got none")
        if not 1 <= len(categories) <= IGNORE_LABEL:
            raise DatasetError(f"expected 1 to {IGNORE_LABEL} categories, got {len(categories)}")
        self.pairs = tuple((Path(image), Path(labels)) for image, labels in pairs)
        check_present(path for pair in self.pairs for path in pair)
        self.categories = tuple(categories)
        self.palette = voc_palette(256) if palette is None else palette
        self.void = tuple(void)
        self._read_image, self._read_labels = read_image, read_labels

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """Names a picture: the stem of its file."""
        return self.pairs[check_index(index, len(self))][0].stem

    def __getitem__(self, index: int) -> Sample:
        """Reads a picture and its labels.

        Raises:
          IndexError: no such number.
          DatasetError: see the class.
        """
        image_path, label_path = self.pairs[check_index(index, len(self))]
        image, labels = self._read_image(image_path), self._read_labels(label_path)
        if labels.shape != image.shape[:2]:
            raise DatasetError(
                f"{label_path}: expected labels of the picture's size, {image.shape[1]} x {image.shape[0]} "
                f"({image_path}), got {' x '.join(map(str, labels.shape[::-1]))}"
            )
        unknown = labels == IGNORE_LABEL
        for value in self.void:
            unknown |= labels == value
        wrong = ~unknown & ((labels < 0) | (labels >= len(self.categories)))
        if wrong.any():
            found = np.unique(labels[wrong])
            raise DatasetError(
                f"{label_path}: expected labels from 0 to {len(self.categories) - 1} "
                f"({len(self.categories)} classes), or {IGNORE_LABEL} for none, got "
                f"{', '.join(map(str, found[:8]))}{', ...' if len(found) > 8 else ''} "
                f"in {wrong.sum():,} pixels; correct the file or the list of classes"
            )
        return Sample(image, np.where(unknown, np.uint8(IGNORE_LABEL), labels.astype(np.uint8)))


def check_present(paths: Iterable[Path]) -> None:
    """Finds out at once, not in the middle of an epoch, that files are missing.

    Raises:
      DatasetError: the first few of them, and how many there are.
    """
    listings: dict[str, set[str]] = {}
    paths = [(*os.path.split(path), path) for path in paths]
    for folder in {folder for folder, _, _ in paths}:
        with contextlib.suppress(OSError):
            listings[folder] = set(os.listdir(folder or "."))
    # A name that is spelled otherwise may still open, where upper and lower case are the same.
    missing = [
        path for folder, name, path in paths if name not in listings.get(folder, ()) and not path.is_file()
    ]
    if missing:
        shown = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
        raise DatasetError(
            f"{len(missing):,} of the {len(paths):,} files of this split are missing: {shown}; "
            f"unpack the whole dataset, or list only what is there"
        )
