"""The mean and the standard deviation of each channel over the pictures of a dataset."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from fcn_jax.datasets.dataset import DatasetError, SegmentationDataset

THREADS = 8
"""That read pictures."""


class Statistics(NamedTuple):
    """Of the pixels of all pictures, in the units of their files.

    Attributes:
      mean, std: of each channel; std divides by the number of pixels.
      dtype: of the pictures.
      pictures: how many there are.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: str
    pictures: int


def measure_statistics(dataset: SegmentationDataset) -> Statistics:
    """Measures the statistics in float64. Reads every picture once.

    Raises:
      DatasetError: a picture has other channels or another dtype than the first, or cannot be read; the
        message names it. Or a channel has one value everywhere.
    """

    def sums(index: int) -> tuple[str, np.dtype, int, np.ndarray, np.ndarray]:
        image = dataset[index].image
        values = image.reshape(-1, image.shape[2]).astype(np.float64)
        mean = values.mean(0)
        return dataset.name(index), image.dtype, len(values), mean, np.square(values - mean).sum(0)

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(sums, range(len(dataset))))
    first, dtype, *_ = found[0]
    channels = len(found[0][3])
    for name, other, _, mean, _ in found:
        if (other, len(mean)) != (dtype, channels):
            raise DatasetError(
                subject=name,
                expected=f"{channels} channels of {dtype}, as {first} has",
                got=f"{len(mean)} of {other}",
            )
    pixels = np.array([count for _, _, count, _, _ in found], np.float64)
    means = np.stack([mean for _, _, _, mean, _ in found])
    total = (means * pixels[:, None]).sum(0) / pixels.sum()
    within = np.sum([squares for *_, squares in found], 0)
    between = (np.square(means - total) * pixels[:, None]).sum(0)
    std = np.sqrt((within + between) / pixels.sum())
    if not (std > 0).all():
        constant = ", ".join(str(channel) for channel in np.flatnonzero(std == 0))
        raise DatasetError(
            f"channel {constant} (from 0) has the same value in all {len(found):,} pictures",
            hint="leave it out of the files",
        )
    return Statistics(tuple(total.tolist()), tuple(std.tolist()), str(dtype), len(found))
