"""The interface of all datasets: pictures by index, with a label for each pixel.

Labels are uint8: class indices from 0, or 255 (`IGNORE_LABEL`) where no class is known, whatever value the
dataset's own files use.
"""

import hashlib
import operator
import os
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from fcn_jax.datasets.faults import Fault
from fcn_jax.errors import FCNError

IGNORE_LABEL = 255
"""The label of pixels that losses and scores ignore."""


class DatasetError(FCNError, ValueError):
    """A dataset is missing, damaged or not as expected.

    Args:
      fault: the kind of fault, for lists of many.
      reason, path, words: see `FCNError`.
    """

    def __init__(
        self,
        reason: str | None = None,
        path: str | os.PathLike | None = None,
        *,
        fault: Fault = Fault.OPENING,
        **words: str | None,
    ):
        super().__init__(reason, path, **words)
        self.fault = fault


class Sample(NamedTuple):
    """A picture and its labels.

    Attributes:
      image: (H, W, 3) uint8, RGB; or (H, W, C) uint8, uint16 or float32 with the channels of its file, if the
        dataset was opened for these.
      labels: (H, W) uint8, a class index or `IGNORE_LABEL`.
    """

    image: np.ndarray
    labels: np.ndarray


class SegmentationDataset(Protocol):
    """Pictures with labels, by index.

    `dataset[i]` depends on i alone; i outside [0, len(dataset)) is an IndexError. Threads may call it, and
    the dataset can be pickled for worker processes. The arrays may be read-only: copy them before writing.

    Attributes:
      categories: names of the classes by index.
      ignore_label: always `IGNORE_LABEL`, 255.
      palette: (256, 3) uint8 colours by label, including 255.
    """

    categories: tuple[str, ...]
    ignore_label: int
    palette: np.ndarray

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def name(self, index: int) -> str:
        """Returns a picture's name for captions and messages: the stem of its file."""
        ...


def fingerprint(dataset: SegmentationDataset) -> str:
    """Computes the SHA-256 of the pictures' names in order, which tells datasets apart."""
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        digest.update(dataset.name(index).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def shown(things: Iterable, most: int) -> str:
    """Lists the first `most` things for a message, and "..." if there are more."""
    things = list(things)
    return ", ".join(map(str, things[:most])) + (", ..." if len(things) > most else "")


def check_index(index: int, length: int) -> int:
    """Returns a picture's index as an int.

    Raises:
      IndexError: it is not in [0, length). Negative indices are not supported.
      TypeError: it is not an integer.
    """
    index = operator.index(index)
    if not 0 <= index < length:
        raise IndexError(f"expected a picture's index from 0 to {length - 1}, got {index}")
    return index
