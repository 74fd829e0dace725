"""Reads pictures and labels from files, and makes a dataset of such pairs.

Pictures are read as stored, as in torchvision's datasets: `Image.open(path).convert("RGB")`. An EXIF
orientation is ignored, because published labels belong to the stored pixels.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, Sample, check_index
from fcn_jax.datasets.faults import Fault
from fcn_jax.datasets.file_names import absent, existing, files_missing
from fcn_jax.datasets.label_values import LabelValues
from fcn_jax.errors import FCNError

_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


@contextlib.contextmanager
def errors_name_the_file(path: Path, expected: str, fault: Fault = Fault.OPENING) -> Iterator[None]:
    """Turns any error of the block into a DatasetError that names the file.

    Args:
      path: the file.
      expected: what it should hold, for the message.
      fault: the kind of fault, unless the block says another.
    """
    try:
        yield
    except DatasetError as error:
        if error.fault is Fault.OPENING:
            error.fault = fault
        raise error.about(path) from error.__cause__
    except FileNotFoundError as error:
        reason = f"expected {expected}, there is no such file"
        raise DatasetError(reason, path, fault=Fault.MISSING) from error
    except Exception as error:  # on damaged files decoders raise many kinds of errors
        said = str(error) if isinstance(error, FCNError) else f"{type(error).__name__}: {error}"
        raise DatasetError(f"cannot be read as {expected}: {said}", path, fault=fault) from error


def read_image(path: Path) -> np.ndarray:
    """Reads a picture as stored.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      DatasetError: the file is missing or damaged.
    """
    with errors_name_the_file(path, "a picture", Fault.PICTURE), Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def label_file_opened(path: Path) -> Iterator[Image.Image]:
    """Opens a label image; the block reads it.

    Raises:
      DatasetError: the file is missing or damaged, or a JPEG; or whatever the block raises, as a DatasetError
        that names the file.
    """
    with errors_name_the_file(path, "a label image", Fault.LABELS), Image.open(path) as image:
        if image.format == "JPEG":
            raise DatasetError(
                expected="labels in a format that keeps every value",
                got="a JPEG, which blurs them",
                hint="save the labels as PNG",
            )
        yield image


def own_values(image: Image.Image) -> np.ndarray:
    """Returns the values of a label image: (H, W) uint8, or wider integers if it has more than 8 bits.

    Raises:
      DatasetError: it holds colours instead of indices.
    """
    if image.mode not in _INDEX_MODES:
        raise DatasetError(
            fault=Fault.COLOURS,
            expected="labels as class indices (a grey or palette image)",
            got=f"a picture in colours (mode {image.mode})",
            hint="convert its colours to indices first, or, in a folder, list the classes with their colours "
            "in classes.txt, as in: road 128 64 128",
        )
    labels = np.asarray(image)
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def read_label_image(path: Path) -> np.ndarray:
    """Reads a label image: a grey or palette image whose values are class indices.

    Returns:
      (H, W) uint8, or wider integers if the file has more than 8 bits; a palette's indices, not its colours.

    Raises:
      DatasetError: the file is missing or damaged, holds colours instead of indices, or is a JPEG.
    """
    with label_file_opened(path) as image:
        return own_values(image)


class FileDataset:
    """A dataset of pairs: an image file and a label file.

    Args:
      pairs: (image, labels) paths, in order. Letters in names may be composed or decomposed.
      categories: names of the classes by index.
      void: label values that mean "no class" in the files, besides 255; they become 255.
      values: the value of each class in the files, in order, see `LabelValues`; by default 0, 1, 2, ...
      palette: (256, 3) uint8; PASCAL VOC's if not given.
      read_image: reads a picture as (H, W, 3) uint8, or as (H, W, C) of another dtype.
      read_labels: reads a label file as (H, W) integers.
      upright: whether `read_image` refuses pictures that EXIF asks to turn.
      faults: found already; pictures that they concern are not among the pairs.
      tolerant: leaves out pairs of which a file is missing, and adds that to `faults`; otherwise an error.

    Attributes:
      pairs, categories, palette, faults, upright: as given.
      label_reader: what reads a label file.
      label_values: which values in the files mean which class.

    Raises:
      DatasetError: there are no pairs, files are missing, or there are more than 255 classes; or, for a
        sample, a file is damaged, the labels have another size, or a label is beyond the classes.
      SettingError: `void` and `values` contradict each other or the number of classes.
    """

    ignore_label = IGNORE_LABEL

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        categories: Sequence[str],
        *,
        void: Sequence[int] = (),
        values: Sequence[int] | None = None,
        palette: np.ndarray | None = None,
        read_image: Callable[[Path], np.ndarray] = read_image,
        read_labels: Callable[[Path], np.ndarray] = read_label_image,
        upright: bool = False,
        faults: Sequence[DatasetError] = (),
        tolerant: bool = False,
    ):
        if not 1 <= len(categories) <= IGNORE_LABEL:
            raise DatasetError(expected=f"1 to {IGNORE_LABEL} categories", got=str(len(categories)))
        found, missing = existing([(Path(image), Path(labels)) for image, labels in pairs])
        if missing and not tolerant:
            raise files_missing(missing, 2 * len(pairs))
        self.faults = (*faults, *(absent(path) for path in missing))
        self.pairs = tuple(found)
        if not self.pairs and not self.faults:
            raise DatasetError(expected="at least one picture with labels", got="none")
        self.categories = tuple(categories)
        self.palette = voc_palette(256) if palette is None else palette
        self.label_values = LabelValues(len(self.categories), void, values)
        self.upright = upright
        self._read_image, self.label_reader = read_image, read_labels

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
        image, labels = self._read_image(image_path), self.label_reader(label_path)
        self.check_size(index, image.shape[:2], labels.shape)
        return Sample(image, self.indices(index, labels))

    def read_picture(self, index: int) -> np.ndarray:
        """Reads a picture alone: (H, W, 3) uint8. Raises as indexing does."""
        return self._read_image(self.pairs[check_index(index, len(self))][0])

    def read_label_values(self, index: int) -> np.ndarray:
        """Reads the labels alone, with the file's own values: (H, W) integers. Raises as indexing does."""
        return self.label_reader(self.pairs[check_index(index, len(self))][1])

    def check_size(self, index: int, picture: tuple[int, ...], labels: tuple[int, ...]) -> None:
        """Raises DatasetError unless a picture and its labels have the same (height, width)."""
        if labels != picture:
            image_path, label_path = self.pairs[index]
            raise DatasetError(
                path=label_path,
                fault=Fault.SIZE,
                expected=f"labels of the picture's size, {picture[1]} x {picture[0]} ({image_path})",
                got=" x ".join(map(str, labels[::-1])),
            )

    def indices(self, index: int, labels: np.ndarray) -> np.ndarray:
        """Turns a label file's own values into class indices and 255. Raises as indexing does."""
        try:
            return self.label_values.indices(labels)
        except DatasetError as error:
            raise error.about(self.pairs[index][1]) from None
