"""A sheet that shows pictures of a dataset with their labels and a model's predictions."""

import os
from collections.abc import Iterable

import numpy as np

from fcn_jax.bands import preview
from fcn_jax.datasets.augmentation import is_rgb
from fcn_jax.datasets.dataset import SegmentationDataset
from fcn_jax.evaluation.evaluator import Evaluator
from fcn_jax.evaluation.metrics import ConfusionMatrix
from fcn_jax.visualization.sheet import SheetRow, draw_sheet


def write_sheet(
    evaluator: Evaluator, dataset: SegmentationDataset, indices: Iterable[int], path: str | os.PathLike
) -> None:
    """Draws pictures, labels and predictions with the score of each, in the dataset's colours.

    The score is the mean IoU, for one logit the foreground's.

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
        note = _score(sample.labels, prediction, evaluator)
        image = sample.image if is_rgb(sample.image) else np.asarray(preview(sample.image))
        rows.append(SheetRow(dataset.name(index), image, sample.labels, prediction, note))
    draw_sheet(rows, evaluator.names(dataset), dataset.palette, path)


def _score(truth: np.ndarray, prediction: np.ndarray, evaluator: Evaluator) -> str:
    confusion = ConfusionMatrix(evaluator.num_labels)
    confusion.update(truth, prediction)
    scores = confusion.scores()
    score = scores.class_iou[1] if evaluator.binary else scores.mean_iou
    return f"{'IoU' if evaluator.binary else 'mean IoU'} {'-' if np.isnan(score) else f'{score:.1%}'}"
