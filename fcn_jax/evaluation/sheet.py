"""A sheet that shows pictures of a dataset with their labels and a model's predictions."""

import os
from collections.abc import Iterable

import numpy as np

from fcn_jax.datasets.dataset import SegmentationDataset
from fcn_jax.evaluation.evaluator import Evaluator
from fcn_jax.evaluation.metrics import ConfusionMatrix
from fcn_jax.visualization.sheet import SheetRow, draw_sheet


def write_sheet(
    evaluator: Evaluator, dataset: SegmentationDataset, indices: Iterable[int], path: str | os.PathLike
) -> None:
    """Draws pictures, labels and predictions with the mean IoU of each, in the dataset's colours.

    Args:
      evaluator: makes the predictions.
      dataset: has the classes of the evaluator's model.
      indices: which pictures to show; at least one.
      path: the PNG file to write, whole or not at all.
    """
    rows = []
    for index in indices:
        sample = evaluator.scored(dataset[index])
        prediction = evaluator.labels(sample.image)
        note = f"mean IoU {_mean_iou(sample.labels, prediction, len(dataset.categories))}"
        rows.append(SheetRow(dataset.name(index), sample.image, sample.labels, prediction, note))
    draw_sheet(rows, dataset.categories, dataset.palette, path)


def _mean_iou(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> str:
    confusion = ConfusionMatrix(num_classes)
    confusion.update(truth, prediction)
    score = confusion.scores().mean_iou
    return "-" if np.isnan(score) else f"{score:.1%}"
