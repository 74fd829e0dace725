"""A model's predictions over a dataset, counted into one confusion matrix.

At size "original" a picture goes through `Segmenter`, and its labels are scored at their own size. At size
"recipe" picture and labels are first resized to a shorter edge of 520 pixels and scored at that size:
torchvision's evaluation.

Source: torchvision's `references/segmentation/train.py` (`evaluate`).
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from flax import nnx

from fcn_jax.datasets.augmentation import evaluation_sample
from fcn_jax.datasets.dataset import DatasetError, Sample, SegmentationDataset
from fcn_jax.evaluation.metrics import ConfusionMatrix
from fcn_jax.inference import Segmenter

EvaluationSize = Literal["original", "recipe"]


class Evaluator:
    """Scores a model on datasets.

    Args:
      model: as it is now, in evaluation mode; its `transforms` prepare pictures.
      size: at which predictions are scored, see the module.
      scales: of the pictures that the model sees, against those of its transforms; softmax probabilities are
        averaged over them, as published protocols do.
      flip: also looks at the mirror image of each.

    Raises:
      ValueError: an unknown size, or a scale that is not above 0.
    """

    def __init__(
        self,
        model: nnx.Module,
        *,
        size: EvaluationSize = "original",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ):
        if size not in ("original", "recipe"):
            raise ValueError(f'size: expected "original" or "recipe", got {size!r}')
        transforms = model.transforms
        if size == "recipe" and hasattr(transforms, "resize_size"):
            transforms = dataclasses.replace(transforms, resize_size=None)
        self.size = size
        self.categories: Sequence[str] | None = model.categories
        self._segmenter = Segmenter(model, transforms, scales=scales, flip=flip)

    def update(self, model: nnx.Module) -> None:
        """Takes the weights that the model has now, without compiling again."""
        self._segmenter.update(model)

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Finds the class of every pixel: (H, W, 3) uint8 to (H, W) uint8."""
        return self._segmenter(image).labels

    def run(
        self,
        dataset: SegmentationDataset,
        *,
        indices: Iterable[int] | None = None,
        seen: Callable[[int], None] = lambda index: None,
    ) -> ConfusionMatrix:
        """Counts the predictions for a dataset.

        Args:
          dataset: of the classes that the model has, in the same order.
          indices: of the pictures to look at; all if not given.
          seen: called after each picture.

        Raises:
          DatasetError: other classes, or a picture that cannot be read.
        """
        num_classes = len(self._segmenter.categories)
        check_categories(dataset.categories, num_classes, self.categories)
        confusion = ConfusionMatrix(num_classes)
        for index in range(len(dataset)) if indices is None else indices:
            sample = self.scored(dataset[index])
            confusion.update(sample.labels, self.labels(sample.image))
            seen(index)
        return confusion

    def scored(self, sample: Sample) -> Sample:
        """Gives a sample at the size at which it is scored."""
        return evaluation_sample(sample, self.size)


def check_categories(dataset: Sequence[str], num_classes: int, model: Sequence[str] | None) -> None:
    """Sees that a dataset has the classes of a model. A class may have another name, but not another place.

    Raises:
      DatasetError: it has more or fewer classes, or has one of them at another index.
    """
    if len(dataset) != num_classes:
        raise DatasetError(
            f"expected a dataset of {num_classes} classes, as the model has, got {len(dataset)}: "
            f"{', '.join(dataset)}; choose others"
        )
    for index, name in enumerate(dataset):
        if model is not None and name in model and model[index] != name:
            raise DatasetError(
                f"expected the model's classes in their order, {', '.join(model)}; got {name!r} as class "
                f"{index} of the dataset, which has {', '.join(dataset)}; list them as the model does"
            )
