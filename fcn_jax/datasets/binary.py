"""A dataset of several classes as one of two: foreground (label 1) against background (label 0)."""

from collections.abc import Sequence

import numpy as np

from fcn_jax.categories import BINARY_CATEGORIES
from fcn_jax.datasets.dataset import IGNORE_LABEL, Sample, SegmentationDataset
from fcn_jax.errors import SettingError

JOINED = " + "
"""Between the names of several classes that are the foreground."""


class Binary:
    """A dataset whose labels are 1 for some of its classes, 0 for all others, and 255 for void as before.

    Args:
      dataset: the dataset.
      foreground: names of at least one of its classes, but not of all.

    Raises:
      SettingError: there is no such class, or no class is left for the background.
    """

    ignore_label = IGNORE_LABEL

    def __init__(self, dataset: SegmentationDataset, foreground: Sequence[str]):
        names = list(dataset.categories)
        unknown = [name for name in foreground if name not in names]
        if unknown or not foreground or set(foreground) >= set(names):
            raise SettingError(
                subject="foreground",
                expected=f"some of the classes, but not all: {', '.join(names)}",
                got=", ".join(foreground) or "none",
            )
        self.dataset = dataset
        chosen = [names.index(name) for name in foreground]
        background = [name for name in names if name not in foreground]
        self.categories = (
            background[0] if len(background) == 1 else BINARY_CATEGORIES[0],
            JOINED.join(foreground),
        )
        self._table = np.zeros(256, np.uint8)
        self._table[chosen] = 1
        self._table[IGNORE_LABEL] = IGNORE_LABEL
        self.palette = np.zeros((256, 3), np.uint8)
        colour = dataset.palette[chosen[0]]
        self.palette[1] = colour if colour.any() else 255
        self.palette[IGNORE_LABEL] = dataset.palette[IGNORE_LABEL]

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """Returns a picture's name, as the dataset does."""
        return self.dataset.name(index)

    def __getitem__(self, index: int) -> Sample:
        """Returns a picture and its labels, 0, 1 or 255."""
        sample = self.dataset[index]
        return Sample(sample.image, self._table[sample.labels])


def as_binary(
    dataset: SegmentationDataset, categories: Sequence[str] | None, foreground: Sequence[str] = ()
) -> SegmentationDataset:
    """Returns a dataset that fits one logit.

    Args:
      dataset: of one class (the foreground), of two (background and foreground), or of several.
      categories: the model's names of background and foreground, if known.
      foreground: classes that are the foreground; by default those that the model's name of it lists.

    Raises:
      SettingError: a dataset of several classes has none of that name; see also `Binary`.
    """
    names = dataset.categories
    if not foreground:
        if len(names) <= 2:
            return dataset
        foreground = categories[1].split(JOINED) if categories is not None else ()
        if not set(foreground) <= set(names) or not foreground:
            raise SettingError(
                subject="foreground",
                expected=f"the classes that one logit finds, some of {', '.join(names)}",
                got="none" if not foreground else f"{', '.join(foreground)} from the model",
                hint="name them with {foreground}",
            )
    return Binary(dataset, foreground)
