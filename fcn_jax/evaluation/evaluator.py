"""A model's predictions over a dataset, counted into one confusion matrix.

At size "original" a picture goes through `Segmenter`, and its labels are scored at their own size. At size
"torchvision", that of its published scores, picture and labels are first resized to a shorter edge of 520
pixels and scored at that size.

Source: torchvision's `references/segmentation/train.py` (`evaluate`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from flax import nnx

from fcn_jax.datasets.augmentation import evaluation_sample
from fcn_jax.datasets.dataset import DatasetError, Sample, SegmentationDataset
from fcn_jax.errors import SettingError
from fcn_jax.evaluation.metrics import ConfusionMatrix
from fcn_jax.inference import Segmenter
from fcn_jax.inference.foreign import as_segmentation_model
from fcn_jax.inference.segmenter import ignore_progress
from fcn_jax.transforms import Preset

EvaluationSize = Literal["original", "torchvision"]


class Evaluator:
    """Scores a model on datasets.

    Args:
      model: as it is now, in evaluation mode; its `transforms` prepare pictures.
      size: at which predictions are scored, see the module.
      scales: of the pictures that the model sees, against those of its transforms; softmax probabilities are
        averaged over them, as published protocols do.
      flip: also looks at the mirror image of each.

    Raises:
      SettingError: an unknown size, or a scale that is not above 0.
      WrongTypeError, ArrayError: see `Segmenter`.
    """

    def __init__(
        self,
        model: nnx.Module,
        *,
        size: EvaluationSize = "original",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ):
        if size not in ("original", "torchvision"):
            raise SettingError(subject="size", expected='"original" or "torchvision"', got=repr(size))
        known = as_segmentation_model(model)
        self.size: EvaluationSize = size
        self.categories = known.categories
        self._num_classes = known.spec.num_classes
        transforms = known.transforms
        if size == "torchvision" and isinstance(transforms, Preset):
            transforms = transforms.with_resize(None)
        self._segmenter = Segmenter(known, transforms, scales=scales, flip=flip)

    @property
    def compilations(self) -> int:
        """How many programs were compiled for the model, so far."""
        return self._segmenter.compilations

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
        on_progress: Callable[[int, int], None] = ignore_progress,
    ) -> ConfusionMatrix:
        """Counts the predictions for a dataset.

        Args:
          dataset: of the classes that the model has, in the same order.
          indices: of the pictures to look at; all if not given.
          on_progress: called after each picture with the number of pictures done and the number of all.

        Raises:
          DatasetError: other classes, or a picture that cannot be read.
        """
        check_categories(dataset.categories, self._num_classes, self.categories)
        confusion = ConfusionMatrix(self._num_classes)
        chosen = range(len(dataset)) if indices is None else list(indices)
        for number, index in enumerate(chosen, 1):
            sample = self.scored(dataset[index])
            confusion.update(sample.labels, self.labels(sample.image))
            on_progress(number, len(chosen))
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
            expected=f"a dataset of {num_classes} classes, as the model has",
            got=f"{len(dataset)}: {', '.join(dataset)}",
            hint="choose another dataset or model",
        )
    for index, name in enumerate(dataset):
        if model is not None and name in model and model[index] != name:
            raise DatasetError(
                f"expected the model's classes in their order, {', '.join(model)}; got {name!r} as class "
                f"{index} of the dataset, which has {', '.join(dataset)}",
                hint="list them as the model does",
            )
