"""A cache of decoded pictures in memory; it saves some milliseconds for each picture."""

import threading

from fcn_jax.datasets.dataset import Sample, SegmentationDataset, check_index


class Cached:
    """A dataset that decodes each picture once, as long as the cache has room.

    A picture in the cache stays there. Once the cache is full, other pictures are decoded each time. (An
    epoch reads every picture once, in random order, so no other rule would save more.) Threads may call it. A
    pickled copy starts with an empty cache.

    Args:
      dataset: the dataset to cache.
      max_bytes: the size of the cache.
    """

    def __init__(self, dataset: SegmentationDataset, max_bytes: int = 2 << 30):
        self.dataset, self.max_bytes = dataset, max_bytes
        self.categories, self.ignore_label = dataset.categories, dataset.ignore_label
        self.palette = dataset.palette
        self._clear()

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """Returns a picture's name, as the dataset does."""
        return self.dataset.name(index)

    def __getitem__(self, index: int) -> Sample:
        """Returns a picture and its labels, read-only.

        Raises:
          IndexError: no picture has this index.
          DatasetError: see the dataset.
        """
        index = check_index(index, len(self))
        if index in self._kept:
            return self._kept[index]
        sample = self.dataset[index]
        for array in sample:
            array.flags.writeable = False  # callers share the arrays
        size = sum(array.nbytes for array in sample)
        with self._lock:
            if index not in self._kept and self._bytes + size <= self.max_bytes:
                self._kept[index] = sample
                self._bytes += size
        return sample

    def __getstate__(self) -> dict:
        return {key: value for key, value in vars(self).items() if key not in ("_kept", "_bytes", "_lock")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._clear()

    def _clear(self) -> None:
        self._kept: dict[int, Sample] = {}
        self._bytes = 0
        self._lock = threading.Lock()
