"""Batches of pictures: the whole input of a training run as a function of the step.

Picture i of a step has the number p = step * batch_size + i in the run. Epoch e = p // len(dataset) reads the
dataset in an order drawn from (seed, e); the augmentation of number p is drawn from (seed, p), and so is its
picture if a sampler chooses it by the classes in it. Nothing else
matters: not the threads or processes that prepare batches, not the number of hosts, not where a run stopped.
To resume a run its step is enough.

NumPy promises that `SeedSequence` and the raw output of `PCG64` stay the same in all versions, but not the
methods of `Generator`. So an order comes from sorting raw output, and augmentations use only `random()`,
which is (raw >> 11) / 2^53; tests check that.
"""

import functools

import numpy as np

from fcn_jax.datasets.augmentation import Augmentation, check_sample, is_rgb, pad_sample
from fcn_jax.datasets.dataset import DatasetError, Sample, SegmentationDataset
from fcn_jax.datasets.sampling import ClassSampler, Draw
from fcn_jax.datasets.stream import BatchStream
from fcn_jax.errors import ArrayError, SettingError

ORDER, AUGMENTATION, SAMPLING = 0, 1, 2  # uses of random numbers, each with its own stream

Batch = dict[str, np.ndarray]
"""{"images": (N, H, W, C), as the dataset has them; "labels": (N, H, W) uint8, class indices or 255}."""


class Batches:
    """The batches of a training run, by step from 0, without end.

    Args:
      dataset: the pictures.
      batch_size: pictures in a step, over all hosts.
      seed: of the orders and the augmentations; at least 0.
      augmentation: changes each picture. None keeps sizes, and pads pictures to the right and below to the
        largest of their batch, with black and 255.
      with_replacement: draws each picture from the whole dataset, as the paper did. Otherwise an epoch has
        every picture once, and its last batch continues with the next epoch.
      channels: of the pictures; None for 8-bit RGB.
      sampler: draws pictures by the classes in them, in place of the usual order.
      share: (process_index, process_count) of this host. Each host prepares its part of a batch; the parts in
        order are the batch of a single host.

    Raises:
      SettingError: the dataset is empty, the hosts cannot share a batch evenly, or an argument is out of its
        range.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        with_replacement: bool = False,
        channels: int | None = None,
        sampler: ClassSampler | None = None,
        share: tuple[int, int] = (0, 1),
    ):
        process_index, process_count = share
        if len(dataset) == 0:
            raise SettingError(expected="a dataset with at least one picture", got="an empty one")
        if batch_size < 1:
            raise _wrong("batch_size", "at least 1", batch_size)
        if seed < 0:
            raise _wrong("seed", "at least 0", seed)
        if not 0 <= process_index < process_count:
            raise _wrong("share", "(index, count) with 0 <= index < count", share)
        if batch_size % process_count:
            expected = f"a multiple of the {process_count} hosts, so that each has the same share"
            raise _wrong("batch_size", expected, batch_size)
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self.with_replacement = with_replacement
        self.channels = channels
        self.sampler = sampler
        self.share = share

    def indices(self, step: int) -> np.ndarray:
        """Returns the dataset indices of this host's share of a batch, in order.

        Raises:
          SettingError: the step is below 0.
        """
        return np.array([self._draw(number).picture for number in self._numbers(step)])

    def batch(self, step: int) -> Batch:
        """Prepares this host's share of a batch.

        Raises:
          DatasetError: a picture cannot be read, or is not as expected; the message names it.
          SettingError: the step is below 0.
        """
        samples = [self._sample(number) for number in self._numbers(step)]
        sizes = [sample.labels.shape for sample in samples]
        if self.augmentation is None:  # the other hosts' pictures may be larger
            others = set(self._numbers(step, whole=True)) - set(self._numbers(step))
            sizes += [self._sample(number).labels.shape for number in sorted(others)]
        height, width = np.max(sizes, axis=0).tolist()
        self._check_alike(step, samples)
        images, labels = zip(*(pad_sample(sample, (height, width)) for sample in samples), strict=True)
        return {"images": np.stack(images), "labels": np.stack(labels)}

    def stream(
        self, first_step: int, last_step: int, *, workers: int = 0, threads: int | None = None
    ) -> BatchStream:
        """Returns a stream of the batches from `first_step` up to, but without, `last_step`, prepared ahead.

        They equal those of `batch`, for any number of workers and threads. Close the stream, or use it in a
        `with` statement, if it may not run to its end.

        Args:
          first_step: at least 0.
          last_step: at least `first_step`.
          workers: processes that prepare batches; 0 uses threads of this process, which is enough if dataset
            and augmentation release Python's lock most of the time, as Pillow does.
          threads: batches that this process prepares at the same time without workers; by default one for
            each core, at most 16.

        Raises:
          SettingError: a number is out of its range.
          DatasetError: while iterating, see `batch`.
          WorkerError: while iterating, a worker ended.
        """
        return BatchStream(self.batch, first_step, last_step, workers=workers, threads=threads)

    def _check_channels(self, index: int, sample: Sample) -> None:
        shape, dtype = sample.image.shape, sample.image.dtype
        fits = is_rgb(sample.image) if self.channels is None else shape[2:] == (self.channels,)
        if not fits and len(shape) == 3:
            rgb = "3 channels of 8 bits (RGB)"
            raise DatasetError(
                subject=self.dataset.name(index),
                expected=rgb if self.channels is None else f"{self.channels} channels",
                got=f"{shape[2]} of {dtype}",
                hint="say how many with {in_channels}" if self.channels is None else None,
            )

    def _check_alike(self, step: int, samples: list[Sample]) -> None:
        """Raises DatasetError unless the pictures of a batch have the same channels and dtype."""
        kinds = [(sample.image.shape[2], sample.image.dtype) for sample in samples]
        for index, kind in zip(self.indices(step), kinds, strict=True):
            if kind != kinds[0]:
                raise DatasetError(
                    subject=self.dataset.name(int(index)),
                    expected=f"{kinds[0][0]} channels of {kinds[0][1]}, as other pictures have",
                    got=f"{kind[0]} of {kind[1]}",
                )

    def _numbers(self, step: int, *, whole: bool = False) -> range:
        if step < 0:
            raise _wrong("step", "at least 0", step)
        process_index, process_count = (0, 1) if whole else self.share
        size = self.batch_size // process_count
        first = step * self.batch_size + process_index * size
        return range(first, first + size)

    def _draw(self, number: int) -> Draw:
        if self.sampler is not None:
            drawn = self.sampler.draw(np.random.Generator(_bits(self.seed, SAMPLING, number)))
            if drawn is not None:
                return drawn
        epoch, place = divmod(number, len(self.dataset))
        return Draw(int(_order(len(self.dataset), self.seed, epoch, self.with_replacement)[place]))

    def _sample(self, number: int) -> Sample:
        index, focus = self._draw(number)
        sample = self.dataset[index]
        self._check_channels(index, sample)
        try:
            check_sample(*sample)
            if self.augmentation is None:
                return sample
            generator = np.random.Generator(_bits(self.seed, AUGMENTATION, number))
            chosen = {} if focus is None else {"focus": focus}
            return self.augmentation(*sample, generator, **chosen)
        except ArrayError as error:
            raise DatasetError(str(error), subject=self.dataset.name(index)) from error


def _wrong(setting: str, expected: str, value) -> SettingError:
    return SettingError(subject=setting, expected=expected, got=str(value))


def _bits(seed: int, use: int, number: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(use, number)))


@functools.lru_cache(maxsize=8)  # an epoch has thousands of steps
def _order(length: int, seed: int, epoch: int, with_replacement: bool) -> np.ndarray:
    raw = _bits(seed, ORDER, epoch).random_raw(length)
    if with_replacement:
        return raw % np.uint64(length)
    return np.argsort(raw, kind="stable")
