"""What every dataset is: pictures with a label for each pixel, by number.

Labels are class indices from 0, uint8, and 255 (`IGNORE_LABEL`) where no class is known, whatever value a
dataset's own files use for that.
"""

import hashlib
import operator
from typing import NamedTuple, Protocol

import numpy as np

from fcn_jax.errors import FCNError

IGNORE_LABEL = 255
"""The label of pixels that neither the loss nor the scores count."""


class DatasetError(FCNError, ValueError):
    """A dataset is not as expected."""


class Sample(NamedTuple):
    """A picture and its labels.

    Attributes:
      image: (H, W, 3) uint8, RGB.
      labels: (H, W) uint8, a class index or `IGNORE_LABEL`.
    """

    image: np.ndarray
    labels: np.ndarray


class SegmentationDataset(Protocol):
    """Pictures with labels, by number.

    `dataset[i]` depends on i alone, for i in [0, len(dataset)); IndexError outside. It can be called from
    threads, and the dataset can be pickled for worker processes. The arrays may be read-only: copy before
    writing into them.

    Attributes:
      categories: names of the classes by index.
      ignore_label: always `IGNORE_LABEL`, 255.
      palette: (256, 3) uint8 colours by label, that of 255 included.
    """

    categories: tuple[str, ...]
    ignore_label: int
    palette: np.ndarray

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def name(self, index: int) -> str:
        """Names a picture, for captions and messages: the stem of its file."""
        ...


def fingerprint(dataset: SegmentationDataset) -> str:
    """Tells a dataset from another by the names of its pictures, in their order: a SHA-256."""
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        digest.update(dataset.name(index).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def check_index(index: int, length: int) -> int:
    """Gives the number of a picture as an int.

    Raises:
      IndexError: it is not in [0, length). Counting from the end, -1, is not for datasets.
      TypeError: it is no integer.
    """
    number = operator.index(index)
    if not 0 <= number < length:
        raise IndexError(f"expected the number of a picture, 0 to {length - 1}, got {number}")
    return number
