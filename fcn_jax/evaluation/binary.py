"""Scores of one logit, which tells foreground from background, and the choice of its threshold.

Pixels are counted by label and by the foreground's probability, in `BINS` equal bins. That gives the scores
at each threshold k / BINS, and average precision over all of them, without storing a probability.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.evaluation.metrics import ConfusionMatrix, Scores, number, sum_over_hosts

BINS = 1024  # a power of two: then bins and thresholds are exact


@dataclasses.dataclass(frozen=True)
class BinaryScores(Scores):
    """Scores of one logit; those of `Scores` are of background and foreground. NaN where nothing was counted.

    Attributes:
      iou: intersection over union of the foreground.
      f1: 2 * tp / (2 * tp + fp + fn), also called Dice's coefficient.
      precision: share of the predicted foreground that is right.
      recall: share of the true foreground that was found.
      average_precision: mean of the precision over all thresholds, by the growth of recall; it does not
        depend on the threshold.
      threshold: the probability from which a pixel counts as foreground.
    """

    iou: float
    f1: float
    precision: float
    recall: float
    average_precision: float
    threshold: float

    @property
    def ranking(self) -> float:
        """See `Scores`; the foreground's IoU."""
        return self.iou

    def to_dict(self, categories: Sequence[str] | None = None) -> dict:
        """See `Scores`."""
        own = ("iou", "f1", "precision", "recall", "average_precision", "threshold")
        return {name: number(getattr(self, name)) for name in own} | super().to_dict(categories)


class BinaryCounts(ConfusionMatrix):
    """Counts pixels by label, prediction and probability.

    Args:
      threshold: the probability from which a pixel counts as foreground, between 0 and 1.

    Attributes:
      counts: (2, 2) int64; rows are labels, columns predictions.
      histogram: (2, BINS) int64; rows are labels, columns bins of the foreground's probability.

    Raises:
      SettingError: the threshold is out of range.
    """

    def __init__(self, threshold: float = 0.5):
        if not 0 < threshold < 1:
            raise SettingError(
                subject="threshold", expected="a probability between 0 and 1", got=str(threshold)
            )
        super().__init__(2)
        self.threshold = threshold
        self.histogram = np.zeros((2, BINS), np.int64)

    def update_binary(self, labels: np.ndarray, predictions: np.ndarray, probabilities: np.ndarray) -> None:
        """Counts pixels. A pixel whose label is neither 0 nor 1 is left out.

        Args:
          labels: integers of any shape.
          predictions: 0 or 1, of the same shape.
          probabilities: of the foreground, of the same shape.

        Raises:
          ArrayError: the shapes differ, a prediction is neither 0 nor 1, or a probability is not in [0, 1].
        """
        probabilities = np.asarray(probabilities)
        if probabilities.shape != np.shape(labels) or not (
            ((probabilities >= 0) & (probabilities <= 1)).all()
        ):
            raise ArrayError(
                expected=f"probabilities from 0 to 1 of the labels' shape {np.shape(labels)}",
                got=f"shape {probabilities.shape}",
            )
        self.update(labels, predictions)
        counted = (labels == 0) | (labels == 1)
        places = np.minimum((probabilities[counted] * BINS).astype(np.intp), BINS - 1)
        places += labels[counted].astype(np.intp) * BINS
        self.histogram += np.bincount(places, minlength=2 * BINS).reshape(2, BINS)

    def __add__(self, other: ConfusionMatrix) -> "BinaryCounts":
        """Returns the counts of both sets together.

        Raises:
          SettingError: the other is not of one logit, or has another threshold.
        """
        if not isinstance(other, BinaryCounts) or other.threshold != self.threshold:
            raise SettingError(
                expected=f"counts of one logit at the threshold {self.threshold}", got=str(other)
            )
        return self._with(self.counts + other.counts, self.histogram + other.histogram)

    def summed_over_hosts(self) -> "BinaryCounts":
        """See `ConfusionMatrix`."""
        return self._with(sum_over_hosts(self.counts), sum_over_hosts(self.histogram))

    def at_best_threshold(self) -> "BinaryCounts":
        """Returns the counts at the threshold k / BINS with the highest IoU of the foreground.

        Of several, the one nearest to 0.5 counts; 0.5 if there is no foreground to find.
        """
        thresholds = np.arange(1, BINS) / BINS
        found, wrong = (self._from_each_bin(label)[1:].astype(np.float64) for label in (1, 0))
        truth = self.histogram[1].sum()
        iou = found / np.maximum(truth + wrong, 1)
        best = thresholds[iou == iou.max()]
        threshold = float(best[np.abs(best - 0.5).argmin()]) if truth else 0.5
        place = round(threshold * BINS)
        counts = np.stack([self.histogram[:, :place].sum(1), self.histogram[:, place:].sum(1)], 1)
        return self._with(counts, self.histogram, threshold)

    def scores(self) -> BinaryScores:
        """Computes all scores."""
        plain = super().scores()
        (_, wrong), (missed, found) = self.counts.astype(np.float64)
        return BinaryScores(
            **{field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)},
            iou=_share(found, found + wrong + missed),
            f1=_share(2 * found, 2 * found + wrong + missed),
            precision=_share(found, found + wrong),
            recall=_share(found, found + missed),
            average_precision=self._average_precision(),
            threshold=self.threshold,
        )

    def _average_precision(self) -> float:
        found, wrong = self._from_each_bin(1), self._from_each_bin(0)
        if not found[0]:
            return float("nan")
        grown = found - np.append(found[1:], 0)
        precision = found / np.maximum(found + wrong, 1)
        return float((grown * precision).sum() / found[0])

    def _from_each_bin(self, label: int) -> np.ndarray:
        """Returns how many pixels with a label lie in each bin or above it."""
        return self.histogram[label][::-1].cumsum()[::-1]

    def _with(
        self, counts: np.ndarray, histogram: np.ndarray, threshold: float | None = None
    ) -> "BinaryCounts":
        result = BinaryCounts(threshold or self.threshold)
        result.counts, result.histogram = counts, histogram
        return result


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
