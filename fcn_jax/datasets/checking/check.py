"""Checks datasets: whole, or the quick part, which takes seconds."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fcn_jax.datasets.by_name import open_dataset
from fcn_jax.datasets.cached import Cached
from fcn_jax.datasets.checking.findings import Report, Tally, class_faults, grouped
from fcn_jax.datasets.checking.inspect import LABELS, look_at_headers, look_at_labels, look_at_picture
from fcn_jax.datasets.coco import CocoDataset
from fcn_jax.datasets.dataset import DatasetError, SegmentationDataset
from fcn_jax.datasets.faults import Fault
from fcn_jax.datasets.files import FileDataset

QUICK_SECONDS = 5.0  # for the headers of a split, and again for its labels
QUICK_LABELS = 256  # label files of a split
TOGETHER = 64  # pictures between looks at the clock
OF_FILES = (FileDataset, CocoDataset)

Progress = Callable[[int, int], None]


def check_named(
    name: str,
    folder: str | os.PathLike | None,
    splits: Sequence[str],
    *,
    on_progress: Progress = lambda done, total: None,
    **options: Any,
) -> Report:
    """Checks all files of a dataset.

    Args:
      name, folder, options: see `open_dataset`.
      splits: the first is for training, others are for scores.
      on_progress: called with the number of pictures done and of all in the split.

    Returns:
      The report; a split that cannot be opened is a fault of it.

    Raises:
      MissingPackageError: the dataset needs a package that is not installed.
      SettingError: the options contradict each other, or the dataset does not have one.
    """
    opened: dict[str, SegmentationDataset] = {}
    faults: list[DatasetError] = []
    for split in splits:
        try:
            opened[split] = open_dataset(name, folder, split, tolerant=True, **options)
        except DatasetError as error:
            error.fault = Fault.OPENING if error.path is None else error.fault
            faults.append(error)
    return _report(opened, faults, quick=False, on_progress=on_progress)


def quick_check(splits: Mapping[str, SegmentationDataset]) -> Report:
    """Looks at names, sizes and orientations of pictures, and at some of the labels, for seconds.

    Datasets of other kinds than those in this package's folders are taken as they are.

    Args:
      splits: {name: dataset}; the first is for training, others are for scores.
    """
    whole = {
        split: dataset.dataset if isinstance(dataset, Cached) else dataset
        for split, dataset in splits.items()
    }
    checked = {split: dataset for split, dataset in whole.items() if isinstance(dataset, OF_FILES)}
    return _report(checked, [], quick=True)


def _report(
    splits: Mapping[str, SegmentationDataset],
    faults: list[DatasetError],
    *,
    quick: bool,
    on_progress: Progress = lambda done, total: None,
) -> Report:
    tallies = []
    first = next(iter(splits.values()), None)
    for number, (split, dataset) in enumerate(splits.items()):
        faults += getattr(dataset, "faults", ())
        tally, found = _check_split(split, dataset, quick=quick, on_progress=on_progress)
        faults += found
        sampled = quick and not tally.whole
        faults += class_faults(tally, dataset.categories, scored=number > 0, sampled=sampled)
        tallies.append(tally)
        if first is not None and dataset.categories != first.categories:
            expected = f"the classes of the first split, {', '.join(first.categories)}"
            got = f"{', '.join(dataset.categories)} in {split}"
            faults.append(DatasetError(fault=Fault.CLASSES, expected=expected, got=got))
    return Report(() if first is None else first.categories, tuple(tallies), grouped(faults))


def _check_split(
    split: str, dataset: SegmentationDataset, *, quick: bool, on_progress: Progress
) -> tuple[Tally, list[DatasetError]]:
    count = len(dataset)
    # Golden ratio: the first few are spread over the whole split, and so are the first many.
    spread = np.argsort(np.arange(count) * 0.6180339887498949 % 1).tolist()
    faults: list[DatasetError] = []
    pixels, occurs = np.zeros((2, LABELS), np.int64)
    headers = counted = 0
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "fcn_jax check") as threads:
        for found in _for_a_while(threads, look_at_headers, dataset, spread, quick):
            faults += found
            headers += 1
        concerned = {each.path for each in faults}
        chosen = spread[:QUICK_LABELS] if quick else spread
        for found, counts in _for_a_while(threads, look_at_labels, dataset, chosen, quick):
            faults += [each for each in found if each.path not in concerned]
            if counts is not None:
                counted += 1
                pixels += counts
                occurs += counts > 0
        if not quick:
            pictures = threads.map(lambda index: look_at_picture(dataset, index), range(count))
            for number, found in enumerate(pictures, 1):
                faults += [each for each in found if each.path not in concerned]
                on_progress(number, count)
    return Tally(split, count, headers, counted, pixels, occurs), faults


def _for_a_while(
    threads: ThreadPoolExecutor,
    look: Callable[[SegmentationDataset, int], Any],
    dataset: SegmentationDataset,
    indices: list[int],
    quick: bool,
) -> Iterator[Any]:
    """Yields what looks at pictures return, in order; if quick, until `QUICK_SECONDS` have passed."""
    end = time.monotonic() + QUICK_SECONDS
    for start in range(0, len(indices), TOGETHER):
        if quick and time.monotonic() > end:
            return
        some = indices[start : start + TOGETHER]
        yield from threads.map(look, [dataset] * len(some), some)
