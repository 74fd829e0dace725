"""Draws pictures by the classes in them, for crops that contain a chosen class: rare ones, or each as often.

Which picture has which class is found once, by reading all labels. A draw depends only on the generator that
it is given, so a run can resume at any step.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, SegmentationDataset
from fcn_jax.errors import SettingError

ALL = "all"
"""In place of names: every class that occurs."""
THREADS = 8
"""That read labels; Pillow and NumPy release Python's lock."""


class Draw(NamedTuple):
    """A picture, and the class that its crop should contain; None for any crop."""

    picture: int
    focus: int | None = None


class ClassSampler:
    """Draws a class, each as often, then a picture that contains it.

    Args:
      pictures: {class: indices of the pictures that contain it}.
      share: of the pictures that are drawn so, from 0 to 1; the others come in the usual order.
    """

    def __init__(self, pictures: dict[int, np.ndarray], share: float = 0.5):
        self.pictures, self.share = pictures, share
        self._classes = list(pictures)

    def draw(self, random: np.random.Generator) -> Draw | None:
        """Draws a picture and a class; None if the picture comes in the usual order.

        Takes one number of `random.random()`, or three.
        """
        if random.random() >= self.share:
            return None
        focus = self._classes[int(random.random() * len(self._classes))]
        pictures = self.pictures[focus]
        return Draw(int(pictures[int(random.random() * len(pictures))]), focus)


def class_sampler(dataset: SegmentationDataset, classes: Sequence[str], share: float) -> ClassSampler:
    """Makes the sampler for some classes of a dataset. Reads all its labels.

    Args:
      classes: names of classes; or ("all",) for each class that occurs.
      share: see `ClassSampler`.

    Raises:
      SettingError: there is no such class.
      DatasetError: no picture contains one of the classes.
    """
    names = list(dataset.categories)
    unknown = [name for name in classes if name not in names and tuple(classes) != (ALL,)]
    if unknown:
        raise SettingError(
            subject="crops_with", expected=f"{ALL}, or some of {', '.join(names)}", got=", ".join(unknown)
        )
    found = count_labels(dataset) > 0
    chosen = range(len(names)) if tuple(classes) == (ALL,) else [names.index(name) for name in classes]
    pictures = {index: np.flatnonzero(found[:, index]) for index in chosen}
    missing = [names[index] for index in chosen if not len(pictures[index])]
    if missing and tuple(classes) != (ALL,):
        raise DatasetError(
            f"no label of the {len(found):,} pictures is {', '.join(missing)}",
            hint="choose other classes in {crops_with}",
        )
    return ClassSampler({index: places for index, places in pictures.items() if len(places)}, share)


def count_labels(dataset: SegmentationDataset, *, tolerant: bool = False) -> np.ndarray:
    """Counts the pixels of each class in each picture; reads every picture once.

    Args:
      tolerant: a picture that cannot be read counts as void.

    Returns:
      (pictures, C) int64; void pixels are not counted.

    Raises:
      DatasetError: a picture cannot be read.
    """

    def counts(index: int) -> np.ndarray:
        try:
            return np.bincount(dataset[index].labels.ravel(), minlength=IGNORE_LABEL + 1)
        except DatasetError:
            if tolerant:
                return np.zeros(IGNORE_LABEL + 1, np.int64)
            raise

    with ThreadPoolExecutor(THREADS) as pool:
        return np.stack(list(pool.map(counts, range(len(dataset)))))[:, : len(dataset.categories)]
