"""Scores of a segmentation, from one confusion matrix over all pictures.

Source: the paper's section 5 ("pixel accuracy", "mean accuracy", "mean IU", "frequency weighted IU") and its
authors' `score.py`. As there, classes that do not occur are left out of the means.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fcn_jax.errors import ArrayError, SettingError


@dataclasses.dataclass(frozen=True)
class Scores:
    """Evaluation scores, all in [0, 1]; NaN where nothing was counted.

    Attributes:
      pixel_accuracy: share of pixels that were classified correctly.
      mean_accuracy: mean of `class_accuracy` over the classes that occur in the labels.
      mean_iou: mean of `class_iou` over the classes that occur in the labels or the predictions.
      frequency_weighted_iou: mean of `class_iou`, weighted by `class_share`.
      class_accuracy: (C,) share of each class's pixels that were classified correctly; NaN without pixels.
      class_iou: (C,) intersection over union; NaN for a class in neither labels nor predictions.
      class_share: (C,) share of each class in the counted pixels.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    class_accuracy: np.ndarray
    class_iou: np.ndarray
    class_share: np.ndarray

    @property
    def ranking(self) -> float:
        """The score by which weights are chosen: the mean IoU."""
        return self.mean_iou

    def to_dict(self, categories: Sequence[str] | None = None) -> dict:
        """Returns the scores for JSON, with None for NaN; also per class if `categories` are given."""
        means = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")
        scores: dict[str, Any] = {name: number(getattr(self, name)) for name in means}
        if categories is not None:
            scores["classes"] = [
                {"name": name, "share": number(share), "accuracy": number(accuracy), "iou": number(iou)}
                for name, share, accuracy, iou in zip(
                    categories, self.class_share, self.class_accuracy, self.class_iou, strict=True
                )
            ]
        return scores


class ConfusionMatrix:
    """Counts pixels by label and prediction. The counts are exact up to 2**63.

    Args:
      num_classes: C, from 1 to 256.

    Attributes:
      counts: (C, C) int64; rows are labels, columns predictions.

    Raises:
      SettingError: `num_classes` is out of range.
    """

    def __init__(self, num_classes: int):
        if not 1 <= num_classes <= 256:
            raise SettingError(subject="num_classes", expected="1 to 256", got=str(num_classes))
        self.num_classes = num_classes
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Counts pixels. A pixel whose label is not a class, such as 255, is left out.

        Args:
          labels: integers of any shape.
          predictions: integers in [0, C), of the same shape.

        Raises:
          ArrayError: the shapes differ, or a prediction is not a class.
        """
        labels, predictions = np.asarray(labels), np.asarray(predictions)
        if labels.shape != predictions.shape:
            raise ArrayError(
                expected=f"predictions of the labels' shape {labels.shape}", got=str(predictions.shape)
            )
        if predictions.size and not 0 <= predictions.min() <= predictions.max() < self.num_classes:
            raise ArrayError(
                expected=f"predictions from 0 to {self.num_classes - 1}",
                got=f"{predictions.min()} to {predictions.max()}",
            )
        counted = (labels >= 0) & (labels < self.num_classes)
        pairs = labels[counted].astype(np.intp) * self.num_classes + predictions[counted]
        self.counts += np.bincount(pairs, minlength=self.num_classes**2).reshape(self.counts.shape)

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """Returns the matrix of both sets together.

        Raises:
          SettingError: the numbers of classes differ.
        """
        if other.num_classes != self.num_classes:
            raise SettingError(expected=f"a matrix of {self.num_classes} classes", got=str(other.num_classes))
        total = ConfusionMatrix(self.num_classes)
        total.counts = self.counts + other.counts
        return total

    def summed_over_hosts(self) -> "ConfusionMatrix":
        """Returns the sum over all JAX processes; every process must call this."""
        total = ConfusionMatrix(self.num_classes)
        total.counts = sum_over_hosts(self.counts)
        return total

    def scores(self) -> Scores:
        """Computes all scores."""
        found = np.diag(self.counts).astype(np.float64)
        truth, predicted = (self.counts.sum(axis).astype(np.float64) for axis in (1, 0))
        union = truth + predicted - found
        accuracy, iou, share = _ratio(found, truth), _ratio(found, union), _ratio(truth, truth.sum())
        occurs = truth > 0
        return Scores(
            pixel_accuracy=float(_ratio(found.sum(), truth.sum())),
            mean_accuracy=_mean(accuracy),
            mean_iou=_mean(iou),
            frequency_weighted_iou=float((share[occurs] * iou[occurs]).sum())
            if occurs.any()
            else float("nan"),
            class_accuracy=accuracy,
            class_iou=iou,
            class_share=share,
        )


def sum_over_hosts(counts: np.ndarray) -> np.ndarray:
    """Adds up int64 counts of all JAX processes; every process must call this."""
    import jax

    if jax.process_count() == 1:
        return counts
    from jax.experimental import multihost_utils

    gathered = np.asarray(multihost_utils.process_allgather(split_counts(counts)))
    return np.sum([join_counts(halves) for halves in gathered], 0)


def format_scores(scores: Scores, categories: Sequence[str]) -> str:
    """Formats scores as a table in percent: a line for each class, then the means.

    Scores of one logit have a last line about the foreground.
    """
    rows = [("class", "pixels", "accuracy", "IoU")]
    rows += [
        (name, *map(_percent, values))
        for name, *values in zip(
            categories, scores.class_share, scores.class_accuracy, scores.class_iou, strict=True
        )
    ]
    rows.append(("mean", "", _percent(scores.mean_accuracy), _percent(scores.mean_iou)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    lines.insert(-1, "-" * len(lines[0]))
    lines.append(
        f"pixel accuracy {_percent(scores.pixel_accuracy)}, "
        f"frequency weighted IoU {_percent(scores.frequency_weighted_iou)}"
    )
    own = scores.to_dict()
    if "threshold" in own:
        found = [
            f"{words} {_percent(np.nan if own[name] is None else own[name])}" for name, words in WORDS.items()
        ]
        lines.append(f"{categories[-1]} from a probability of {own['threshold']:.4g}: {', '.join(found)}")
    return "\n".join(lines)


WORDS = {
    "iou": "IoU",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "average_precision": "average precision",
}
"""{score of one logit: its name in a table}."""


def split_counts(counts: np.ndarray) -> np.ndarray:
    """Splits int64 counts of at least 0 into (2, ...) uint32, since JAX would silently truncate an int64."""
    return np.stack([counts >> 32, counts & 0xFFFFFFFF]).astype(np.uint32)


def join_counts(halves: np.ndarray) -> np.ndarray:
    """Undoes `split_counts`."""
    high, low = np.asarray(halves).astype(np.int64)
    return (high << 32) | low


def _ratio(part, whole) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def number(value: float) -> float | None:
    """Returns a score for JSON: None for NaN."""
    return None if np.isnan(value) else float(value)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2%}"
