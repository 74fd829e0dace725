"""The evaluations of a run: scores, the best weights so far, sheets and curves."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_jax.datasets import SegmentationDataset
from fcn_jax.evaluation.binary import BinaryCounts
from fcn_jax.evaluation.evaluator import Evaluator
from fcn_jax.evaluation.metrics import Scores
from fcn_jax.evaluation.sheet import write_sheet
from fcn_jax.inference.engine import Device
from fcn_jax.models import SegmentationModel
from fcn_jax.training.config import Config
from fcn_jax.training.output import RunFolder, set_aside, writing
from fcn_jax.training.reports.curves import draw_curves
from fcn_jax.training.reports.records import Records, read_records
from fcn_jax.weights.loading import save_weights
from weights_converter import CheckpointError, load_model_file

logger = logging.getLogger(__name__)

SHEET_ROWS = 4
KEY = "evaluation"  # in the metadata of best.safetensors: the score of its weights


class Best(NamedTuple):
    """The step and the score of the weights in best.safetensors."""

    step: int
    score: float


class Evaluations:
    """Scores a run's model now and then. Each of several hosts scores a share of the pictures.

    The score that decides is the mean IoU. For one logit it is the foreground's IoU, at the threshold with
    the highest one on these pictures (of several, the one nearest to 0.5); the threshold is saved with the
    weights.

    Args:
      model: the run's model, in evaluation mode; `run` takes its later weights.
      val_set: the pictures to score it on.
      share: (process_index, process_count) of this host.
      devices: of this host, to compute on.

    Attributes:
      scored: {step: score}, only of evaluations with the same settings.
      thresholds: {step: threshold} of these evaluations, for one logit.
      key: name of the score in the records, "mean_iou" or "iou".
      word: the same, in words.
      best: what best.safetensors holds; None before the first evaluation.
    """

    def __init__(
        self,
        model: SegmentationModel,
        val_set: SegmentationDataset,
        config: Config,
        folder: RunFolder,
        share: tuple[int, int],
        devices: Sequence[Device] | None = None,
    ):
        self.evaluator = Evaluator(model, size=config.eval_size, devices=devices)
        self.val_set, self.folder = val_set, folder
        self.indices = evenly(len(val_set), config.eval_limit)
        self.scoring = {"split": config.val_split, "size": config.eval_size, "pictures": len(self.indices)}
        self.key, self.word = ("iou", "foreground IoU") if self.evaluator.binary else ("mean_iou", "mean IoU")
        self.scored: dict[int, float] = {}
        self.thresholds: dict[int, float] = {}
        self.best: Best | None = None
        self._lost: Best | None = None
        self._share = share

    def restore(self, earlier: Iterable[Mapping], done: int) -> None:
        """Finds, on the first host, the scores of the run's earlier starts and the best weights.

        If best.safetensors is missing or damaged, and the current weights are not the best ones, the log says
        that the best weights are lost.

        Args:
          earlier: evaluations, from the checkpoint and from the metrics.
          done: number of steps made.
        """
        earlier = list(earlier)
        self.scored = same_scoring(earlier, self.scoring, done, self.key)
        if self.evaluator.binary:
            self.thresholds = same_scoring(earlier, self.scoring, done, "threshold")
        self._lost = None if self._find_best() or not self.scored else best_of(self.scored)
        if self._lost is not None and self._lost.step != done:
            logger.warning(
                "%s is missing: it held the only copy of the weights after step %d (%s %.4f); "
                "the best later evaluation writes it again",
                self.folder.best,
                self._lost.step,
                self.word,
                self._lost.score,
            )

    def best_is_at_hand(self, done: int) -> bool:
        """Whether best.safetensors is lost but held the weights after step `done`."""
        return self._lost is not None and self._lost.step == done

    def save_best_again(self, model: SegmentationModel, done: int) -> None:
        """Writes best.safetensors again, on the first host."""
        if self._lost is not None:
            model.update_meta(threshold=self.thresholds.get(done))
            self._save_best(model, self._lost)
            logger.warning(
                "%s was missing: written again with the weights after step %d", self.folder.best, done
            )

    def facts(self) -> list[dict]:
        """Returns the evaluations as a checkpoint keeps them."""
        return [
            self.scoring
            | {"step": step, self.key: _json_number(score)}
            | ({"threshold": self.thresholds[step]} if step in self.thresholds else {})
            for step, score in self.scored.items()
        ]

    @property
    def threshold(self) -> float | None:
        """The threshold of the newest evaluation, for one logit; None before the first."""
        return self.thresholds[max(self.thresholds)] if self.thresholds else None

    def run(
        self,
        model: SegmentationModel,
        done: int,
        records: Records,
        on_progress: Callable[[int, int], None],
    ) -> Scores | None:
        """Scores the model after `done` steps; the first host writes the results.

        Args:
          model: with the weights to score.
          records: where the scores go.
          on_progress: called after each picture with the number of pictures done and the number of all. It
            may raise: that ends the evaluation before anything is written.

        Returns:
          The scores; None on all hosts but the first.
        """
        host, hosts = self._share
        self.evaluator.update(model)
        own = self.indices[host::hosts]
        confusion = self.evaluator.run(self.val_set, indices=own, on_progress=on_progress)
        confusion = confusion.summed_over_hosts()
        if host != 0:
            return None
        if isinstance(confusion, BinaryCounts):
            confusion = confusion.at_best_threshold()
            self.thresholds[done] = confusion.threshold
            model.update_meta(threshold=confusion.threshold)
            self.evaluator.update(model)  # for the sheet
        scores = confusion.scores()
        self.scored[done] = scores.ranking
        with writing(self.folder.last):
            save_weights(model, self.folder.last)
        if self.best is None or _rank(scores.ranking) > _rank(self.best.score):
            self._save_best(model, Best(done, scores.ranking))
        records.eval(done, self.scoring | scores.to_dict())
        self._draw(done)
        return scores

    def sheet(self, done: int) -> Path:
        """Returns where the sheet of the evaluation after `done` steps is."""
        return self.folder.sheets / f"step{done:07d}.png"

    def _draw(self, done: int) -> None:
        with writing(self.folder.sheets):
            self.folder.sheets.mkdir(exist_ok=True)
            shown = evenly(len(self.val_set), SHEET_ROWS)
            write_sheet(self.evaluator, self.val_set, shown, self.sheet(done))
        with writing(self.folder.curves):
            draw_curves(read_records(self.folder.metrics), self.folder.curves)

    def _save_best(self, model: SegmentationModel, best: Best) -> None:
        facts = self.scoring | {"step": best.step, self.key: _json_number(best.score)}
        with writing(self.folder.best):
            save_weights(model, self.folder.best, facts={KEY: json.dumps(facts)})
        self.best = best

    def _find_best(self) -> bool:
        """Reads what best.safetensors holds. Returns whether the file exists and is whole."""
        if not self.folder.best.exists():
            return False
        try:
            metadata = load_model_file(self.folder.best).metadata
            facts = json.loads(metadata[KEY]) if KEY in metadata else None
        except CheckpointError as error:
            set_aside(self.folder.best, error.reason)
            return False
        if facts is None:  # from an older version, which kept the score only in the metrics
            self.best = best_of(self.scored) if self.scored else None
        elif self.scoring.items() <= facts.items():
            self.best = Best(facts["step"], _number(facts.get(self.key)))
        return True


def same_scoring(
    evaluations: Iterable[Mapping], scoring: Mapping, done: int, key: str = "mean_iou"
) -> dict[int, float]:
    """Returns {step: score} of the evaluations up to step `done` with the same settings."""
    return {
        found["step"]: _number(found.get(key))
        for found in sorted(evaluations, key=lambda found: found["step"])
        if found["step"] <= done and scoring.items() <= found.items()
    }


def best_of(scored: Mapping[int, float]) -> Best:
    """Returns the first step with the highest score. NaN (no pixel counts) is the lowest score."""
    step = max(sorted(scored), key=lambda step: _rank(scored[step]))
    return Best(step, scored[step])


def evenly(count: int, limit: int | None) -> list[int]:
    """Chooses at most `limit` of the numbers below `count`, evenly spread."""
    limit = count if limit is None else min(limit, count)
    return np.linspace(0, count - 1, limit).round().astype(int).tolist() if limit > 1 else [0][:limit]


def _rank(score: float) -> float:
    return -1 if math.isnan(score) else score


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _json_number(value: float) -> float | None:
    return None if math.isnan(value) else value
