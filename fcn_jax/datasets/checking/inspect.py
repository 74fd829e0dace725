"""Looks at one picture of a dataset and its labels: at the headers of the files, or at all that they hold."""

import numpy as np
from PIL import Image

from fcn_jax.datasets.coco import CocoDataset
from fcn_jax.datasets.colours import ByFirstPalette, palette_of_file
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, SegmentationDataset
from fcn_jax.datasets.faults import Fault
from fcn_jax.datasets.files import FileDataset, errors_name_the_file
from fcn_jax.datasets.orientation import check_upright, read_header

LABELS = 256  # values of uint8 labels


def look_at_headers(dataset: SegmentationDataset, index: int) -> list[DatasetError]:
    """Returns what a picture's size and orientation and the label file's header tell, without decoding."""
    faults: list[DatasetError] = []
    if isinstance(dataset, CocoDataset):
        _try(faults, lambda: dataset.check_header(index))
    elif isinstance(dataset, FileDataset):
        picture = _try(faults, lambda: _picture_size(dataset, index))
        labels = _try(faults, lambda: _label_size(dataset, index, faults))
        if picture is not None and labels is not None:
            _try(faults, lambda: dataset.check_size(index, picture, labels))
    return faults


def look_at_labels(dataset: SegmentationDataset, index: int) -> tuple[list[DatasetError], np.ndarray | None]:
    """Reads a picture's labels.

    Returns:
      The faults, and (256,) int64 pixels by label, or None if the labels cannot be read.
    """
    faults: list[DatasetError] = []

    def read() -> np.ndarray:
        if isinstance(dataset, FileDataset):
            return dataset.indices(index, dataset.read_label_values(index))
        return dataset.read_labels(index) if isinstance(dataset, CocoDataset) else dataset[index].labels

    labels = _try(faults, read)
    if labels is None:
        return faults, None
    counts = np.bincount(labels.ravel(), minlength=LABELS)
    if not counts[:IGNORE_LABEL].any():
        path = dataset.pairs[index][1] if isinstance(dataset, FileDataset) else dataset.name(index)
        faults.append(DatasetError("every pixel is without a class", path, fault=Fault.VOID))
    return faults, counts


def look_at_picture(dataset: SegmentationDataset, index: int) -> list[DatasetError]:
    """Decodes a picture."""
    faults: list[DatasetError] = []
    read = dataset.read_picture if isinstance(dataset, FileDataset) else dataset.__getitem__
    _try(faults, lambda: read(index))
    return faults


def _try(faults: list[DatasetError], look):
    """Returns what a look returns; None if it raises a DatasetError, which `faults` gets."""
    try:
        return look()
    except DatasetError as error:
        faults.append(error)
        return None


def _picture_size(dataset: FileDataset, index: int) -> tuple[int, ...] | None:
    def read(image: Image.Image) -> tuple[int, ...]:
        if dataset.upright:
            check_upright(image)
        return image.size[::-1]

    path = dataset.pairs[index][0]
    with errors_name_the_file(path, "a picture", Fault.PICTURE):
        return read_header(path, read)


def _label_size(dataset: FileDataset, index: int, faults: list[DatasetError]) -> tuple[int, ...] | None:
    path = dataset.pairs[index][1]
    if path.suffix.lower() not in Image.registered_extensions():
        return None
    with errors_name_the_file(path, "a label image", Fault.LABELS), Image.open(path) as image:
        reader = dataset.label_reader
        if isinstance(reader, ByFirstPalette) and image.mode == "P":
            _compare_palettes(image, reader, faults)
        return image.size[::-1]


def _compare_palettes(image: Image.Image, reader: ByFirstPalette, faults: list[DatasetError]) -> None:
    palette = palette_of_file(image)
    if palette is None:
        return
    first = np.frombuffer(reader.palette, np.uint8).reshape(-1, 3)
    both = min(len(first), len(palette))
    if (palette[:both] != first[:both]).any():
        faults.append(
            DatasetError(
                f"has another palette than {reader.first.name}",
                getattr(image, "filename", None),
                fault=Fault.PALETTE,
                hint=f"the classes are taken to be in the order of {reader.first.name}: to be sure, list "
                "them with their colours in classes.txt, as in: road 128 64 128",
            )
        )
