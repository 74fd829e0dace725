"""Counts a model's predictions on a dataset in one confusion matrix.

At size "original" predictions are scored at the size of the picture. At size "torchvision", which
torchvision's published scores use, picture and labels are first resized to a shorter edge of 520 pixels.

Source: torchvision's `references/segmentation/train.py` (`evaluate`).
"""

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import jax
import numpy as np
from flax import nnx

from fcn_jax.categories import BINARY_CATEGORIES
from fcn_jax.datasets.augmentation import evaluation_sample
from fcn_jax.datasets.dataset import DatasetError, Sample, SegmentationDataset
from fcn_jax.errors import SettingError
from fcn_jax.evaluation.binary import BinaryCounts
from fcn_jax.evaluation.metrics import ConfusionMatrix
from fcn_jax.inference import Segmenter
from fcn_jax.inference.engine import Device
from fcn_jax.inference.foreign import as_segmentation_model
from fcn_jax.inference.reading import READERS, read_ahead
from fcn_jax.inference.views import ignore_progress
from fcn_jax.meta import Window
from fcn_jax.transforms import Preset

EvaluationSize = Literal["original", "torchvision"]


class Evaluator:
    """Scores a model on datasets.

    Args:
      model: copied now, in evaluation mode; its `transforms` prepare pictures.
      size: at which predictions are scored, see the module.
      scales: sizes at which the model sees a picture, relative to the output of its transforms; softmax
        probabilities are averaged over them, as in published protocols.
      flip: average over the mirror image too.
      window: average over windows that overlap, see `Segmenter`.
      batch_size: see `Segmenter`. Scores do not depend on it.
      devices: to compute on; by default all of this host.

    Attributes:
      categories: names of the model's classes, or None.
      num_labels: number of labels that the model can give; 2 for one logit.
      binary: whether the model has one logit.

    Raises:
      SettingError: the size is unknown, or a scale is not above 0.
      WrongTypeError, ArrayError: see `Segmenter`.
    """

    def __init__(
        self,
        model: nnx.Module,
        *,
        size: EvaluationSize = "original",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: Window | None = None,
        batch_size: int | None = None,
        devices: Sequence[Device] | None = None,
    ):
        if size not in ("original", "torchvision"):
            raise SettingError(subject="size", expected='"original" or "torchvision"', got=repr(size))
        network = as_segmentation_model(model)
        self.size: EvaluationSize = size
        self.categories = network.categories
        self.num_labels = network.spec.num_labels
        self.binary = network.spec.num_classes == 1
        transforms = network.transforms
        if size == "torchvision" and isinstance(transforms, Preset):
            transforms = transforms.with_resize(None)
        if devices is None and jax.local_device_count() > 1:
            devices = jax.local_devices()
        self._segmenter = Segmenter(
            network,
            transforms,
            scales=scales,
            flip=flip,
            window=window,
            batch_size=batch_size,
            devices=devices,
        )

    @property
    def compilations(self) -> int:
        """Number of programs compiled for the model so far."""
        return self._segmenter.compilations

    def update(self, model: nnx.Module) -> None:
        """Replaces the weights by the model's present ones, without compiling again."""
        self._segmenter.update(model)

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Predicts the class of every pixel: (H, W, C) as in a sample to (H, W) uint8."""
        return self._segmenter(image).labels

    def names(self, dataset: SegmentationDataset) -> tuple[str, ...]:
        """Returns the names of a dataset's labels; one class beside one logit is the foreground."""
        if self.binary and len(dataset.categories) == 1:
            return BINARY_CATEGORIES[0], *dataset.categories
        return dataset.categories

    def run(
        self,
        dataset: SegmentationDataset,
        *,
        indices: Iterable[int] | None = None,
        on_progress: Callable[[int, int], None] = ignore_progress,
    ) -> ConfusionMatrix:
        """Counts the predictions for a dataset. Threads read pictures ahead, and batches fill the devices.

        Args:
          dataset: has the model's classes in the same order; for one logit background (label 0) and
            foreground (label 1), or the foreground alone.
          indices: which pictures to use; by default all.
          on_progress: called after each picture as on_progress(pictures done, pictures in total).

        Raises:
          DatasetError: the classes differ, or a picture cannot be read.
        """
        check_categories(self.names(dataset), self.num_labels, self.categories)
        confusion = self._no_counts()
        chosen = range(len(dataset)) if indices is None else list(indices)
        truths: collections.deque[np.ndarray] = collections.deque()  # of the pictures on their way

        def images() -> Iterator[np.ndarray]:
            for read in read_ahead(lambda index: self.scored(dataset[index]), chosen, most=READERS):
                sample = read.result()
                truths.append(sample.labels)
                yield sample.image

        with contextlib.closing(self._segmenter.stream(images())) as results:
            for number, result in enumerate(results, 1):
                truth = truths.popleft()
                if isinstance(confusion, BinaryCounts):
                    found = np.where(result.labels == 1, result.confidence, 1 - result.confidence)
                    confusion.update_binary(truth, result.labels, found)
                else:
                    confusion.update(truth, result.labels)
                on_progress(number, len(chosen))
        return confusion

    def _no_counts(self) -> ConfusionMatrix:
        threshold = self._segmenter.threshold
        return ConfusionMatrix(self.num_labels) if threshold is None else BinaryCounts(threshold)

    def scored(self, sample: Sample) -> Sample:
        """Returns a sample at the size at which it is scored."""
        return evaluation_sample(sample, self.size)


def check_categories(dataset: Sequence[str], num_classes: int, model: Sequence[str] | None) -> None:
    """Checks that a dataset has the classes of a model. Names may differ, but a shared name needs one index.

    Raises:
      DatasetError: the numbers of classes differ, or a class has another index in the model.
    """
    if len(dataset) != num_classes:
        raise DatasetError(
            expected=f"a dataset with the model's {num_classes} classes",
            got=f"{len(dataset)}: {', '.join(dataset)}",
            hint="choose another dataset or model",
        )
    for index, name in enumerate(dataset):
        if model is not None and name in model and model[index] != name:
            raise DatasetError(
                f"expected the model's classes in their order, {', '.join(model)}; got {name!r} as class "
                f"{index} of the dataset, which has {', '.join(dataset)}",
                hint="list them in the model's order",
            )
