"""A training run and its loop.

    with Run(config) as run:
        run.prepare()
        for batch in run.batches():
            run.step(batch)
            if run.evaluation_due:
                run.evaluate()
            if run.checkpoint_due:
                run.save()
        status = run.finish()

`Run(config).train()` is the same in one call. `scripts/train.py` shows what `prepare` does.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import jax

from fcn_jax.datasets import DatasetError, SegmentationDataset
from fcn_jax.datasets.batches import Batch
from fcn_jax.datasets.stream import WorkerError
from fcn_jax.errors import FCNError, SettingError
from fcn_jax.models import SegmentationModel
from fcn_jax.models.arrays import fill_model
from fcn_jax.training.checkpointing.checkpoints import Checkpoints
from fcn_jax.training.config import Config, as_json, save_config
from fcn_jax.training.devices import (
    agreed,
    local_copy,
    place_batch,
)
from fcn_jax.training.output import writing
from fcn_jax.training.parts import Parts
from fcn_jax.training.reports.diagnosis import diagnose, inspect
from fcn_jax.training.reports.records import Records
from fcn_jax.training.reports.trackers import Tracker, Trackers, make_trackers
from fcn_jax.training.resume import check_goes_on, run_facts
from fcn_jax.training.state import evaluated_arrays
from fcn_jax.training.step import split_batch
from fcn_jax.training.stop import Stop, stop_on_signals
from fcn_jax.weights.loading import save_weights

logger = logging.getLogger(__name__)


class DivergedError(FCNError):
    """A step gave a loss or a gradient that is not finite; the state before the step is saved."""


class Interrupted(Exception):
    """A signal came during an evaluation."""


class Pending(NamedTuple):
    """A step under way: its number, the metrics that it computes, and when it began."""

    number: int
    metrics: dict[str, jax.Array]
    begun: float


class Run(Parts):
    """A training run in its folder. It begins, or resumes where its earlier start ended.

    Its messages go to the log of `fcn_jax.training.run`.

    Args:
      config: the settings.
      train_set, val_set: datasets to train and to evaluate on; opened from the settings if not given.
      on_progress: called after each step with the number of steps done and of all; may be set later.
      trackers: your own, beside those that the settings name; see `reports.trackers`.

    Attributes:
      done: how many steps have been made, of `steps`.
      saved: the step of the newest checkpoint; None before the first.
      losses: the loss of each step since this start.
      record: facts about the newest step: loss, lr, gradient_norm, images_per_second.
      on_progress: as given.
    """

    def __init__(
        self,
        config: Config,
        *,
        train_set: SegmentationDataset | None = None,
        val_set: SegmentationDataset | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        trackers: Sequence[Tracker] = (),
    ):
        super().__init__(config, train_set, val_set)
        self._trackers = Trackers([*make_trackers(config.track), *trackers], config.track_every)
        self.on_progress = on_progress
        self.done = 0
        self.saved: int | None = None
        self.losses: list[float] = []
        self.record: dict[str, float] = {}
        self._finished = False
        self._pending: Pending | None = None
        self._settled = 0.0  # when the last step or evaluation ended

    def train(self) -> int:
        """Makes the whole run. Returns the exit status, as `finish` does."""
        with self:
            self.prepare()
            for batch in self.batches():
                self.step(batch)
                if self.evaluation_due:
                    self.evaluate()
                if self.checkpoint_due:
                    self.save()
            return self.finish()

    def prepare(self) -> None:
        """Prepares everything for the first step that remains."""
        self.open_folder()
        self.open_data()
        self.build_model()
        self.build_step()
        self.restore()

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._trackers.end("finished" if self._finished else "stopped")
            self._open.close()
            return
        self._trackers.end("failed")
        if isinstance(error, DatasetError | WorkerError):
            self._rescue()
        with contextlib.suppress(FCNError, OSError):  # one error is enough
            self._open.close()

    def restore(self) -> None:
        """Restores the newest whole checkpoint, if there is one, and opens the records.

        From here on Ctrl-C and SIGTERM let the step under way finish.

        Raises:
          CheckpointsError: every checkpoint is damaged, or the newest whole one belongs to another model.
          DatasetError: the checkpoint's run had other classes or pictures.
          SettingError: the checkpoint's run had other settings; or there is no checkpoint, and
            `config.resume` is "must".
        """
        config, folder = self.config, self.folder
        self._stop: Stop = self._open.enter_context(stop_on_signals())
        self._checkpoints = self._open.enter_context(Checkpoints(folder.checkpoints, keep=config.keep))
        self._facts = run_facts(config, self.train_set)
        saved = self._checkpoints.newest_facts()
        if saved is not None:  # before the arrays, whose shapes follow from the settings and the classes
            check_goes_on(config, self._facts, saved)
        restored = self._checkpoints.restore(self.state)
        earlier: list[dict] = []
        if restored is not None:
            self.state, self.done, self.saved = restored.tree, restored.step, restored.step
            earlier = restored.facts.get("evaluations", [])
            logger.info("resuming after step %d of %d", self.done, self.steps)
        elif config.resume == "must":
            raise SettingError(
                path=config.output, subject="resume", expected="a checkpoint to resume from", got="none"
            )
        if self.host == 0:
            self._trackers.begin(as_json(config), folder.path)
        else:
            self._trackers = Trackers()
        records = Records(folder.path if self.host == 0 else None, first_step=self.done)
        self._records = self._open.enter_context(records)
        if self.host == 0:
            with writing(folder.config):
                save_config(config, folder.config)
            self.evaluations.restore([*earlier, *records.evaluations], self.done)
        if agreed(self.evaluations.best_is_at_hand(self.done)):
            self.evaluations.save_best_again(self._take_weights(), self.done)
        self._missed = agreed(self.done > 0 and self.done not in self.evaluations.scored)
        if self.host == 0:
            logger.info(
                "%s: %d pictures to train on, %d to evaluate on; %d steps of %d pictures",
                self.model.spec,
                len(self.train_set),
                len(self.val_set),
                self.steps,
                config.batch_size,
            )

    # The loop

    def batches(self) -> Iterator[Batch]:
        """Yields the batches of the remaining steps, until a signal asks the run to end.

        Raises:
          DatasetError: a picture cannot be read.
          WorkerError: a process that prepares batches has ended.
        """
        stream = self.input.stream(self.done, self.steps, workers=self.config.workers)
        self._open.enter_context(stream)
        if self.host == 0:
            self.on_progress(self.done, self.steps)
        missed, self._missed = self._missed, False
        if missed and self.evaluation_due:  # an earlier start ended before this evaluation
            self.evaluate()
        while self.done < self.steps and not self._stop.requested(self.done):
            yield next(stream)

    def step(self, batch: Batch) -> None:
        """Starts a step. While it computes, records the step before.

        Raises:
          DivergedError: the step before gave a loss or a gradient that is not finite.
          OutputError: the record cannot be written.
        """
        begun = time.perf_counter()
        self.state, metrics = self.train_step(self.state, place_batch(batch, self.mesh), self.done)
        before, self._pending = self._pending, Pending(self.done, metrics, begun)
        self.done += 1
        self._write_down(before)

    @property
    def evaluation_due(self) -> bool:
        """Whether to evaluate now, after step `done`."""
        return self._due(self.config.eval_every)

    @property
    def checkpoint_due(self) -> bool:
        """Whether to save now, after step `done`."""
        return self._due(self.config.checkpoint_every)

    def evaluate(self) -> None:
        """Scores the weights; writes the weights, the scores, a sheet and the curves.

        A signal ends the evaluation before it writes anything. The next start then evaluates.

        Raises:
          DivergedError, OutputError: see `step`.
        """
        self._settle()
        try:
            scores = self.evaluations.run(self._take_weights(), self.done, self._records, self._heed_signals)
        except Interrupted:
            self._missed = True
            return
        self._settled = time.perf_counter()
        if scores is not None:
            pictures = {"sheet": self.evaluations.sheet(self.done), "curves": self.folder.curves}
            self._trackers.eval(self.done, scores.to_dict(), pictures)
            logger.info(
                "after step %d: %s %.4f, pixel accuracy %.4f, mean accuracy %.4f",
                self.done,
                self.evaluations.word,
                scores.ranking,
                scores.pixel_accuracy,
                scores.mean_accuracy,
            )

    def save(self) -> None:
        """Saves a checkpoint, in the background.

        Raises:
          CheckpointsNotSaved: this checkpoint or the one before cannot be written.
          DivergedError, OutputError: see `step`.
        """
        self._settle()
        if self.saved != self.done:
            evaluations = self.evaluations.facts()
            self._checkpoints.save(self.done, self.state, self._facts | {"evaluations": evaluations})
            self.saved = self.done
        self._settled = time.perf_counter()

    def finish(self) -> int:
        """Saves what is not saved yet, and logs how the run ended.

        Returns:
          The exit status: 0 if all steps are done; 130 or 143 if Ctrl-C or SIGTERM ended it.
        """
        self.save()
        stopped = self.done < self.steps or self._missed
        if stopped or (self.host == 0 and not self.folder.last.exists()):
            self._leave_weights()
        if stopped:
            by = f" by {self._stop.signal.name}" if self._stop.signal is not None else ""
            logger.info(
                "stopped%s after step %d of %d and saved; the same settings resume the run",
                by,
                self.done,
                self.steps,
            )
            return self._stop.exit_code
        self._finished = True
        best = self.evaluations.best
        if best is not None:
            logger.info(
                "done: best %s %.4f after step %d; see %s",
                self.evaluations.word,
                best.score,
                best.step,
                self.folder.path,
            )
        elif self.host == 0:
            logger.info("done; see %s", self.folder.path)
        return 0

    # Parts of the loop

    def _due(self, every: int) -> bool:
        return self.done > 0 and (self.done == self.steps or self.done % every == 0)

    def _settle(self) -> None:
        """Waits for the step under way and records it."""
        pending, self._pending = self._pending, None
        self._write_down(pending)

    def _write_down(self, step: Pending | None) -> None:
        if step is None:
            return
        number, metrics, begun = step
        metrics = jax.device_get(metrics)
        if not metrics["applied"]:
            raise self._diverged(number, metrics)
        now = time.perf_counter()
        seconds, self._settled = now - max(begun, self._settled), now
        self.record = {name: float(metrics[name]) for name in ("loss", "lr", "gradient_norm")}
        self.record["images_per_second"] = self.config.batch_size / seconds
        self.losses.append(self.record["loss"])
        self._records.train(number, self.record)
        self._trackers.train(number + 1, self.record)
        if self.host == 0:
            self.on_progress(number + 1, self.steps)

    def _heed_signals(self, done: int, total: int) -> None:
        if self._stop.requested_here():
            raise Interrupted

    def _take_weights(self) -> SegmentationModel:
        fill_model(self.model, local_copy(evaluated_arrays(self.state), self.mesh))
        return self.model

    def _leave_weights(self) -> None:
        """Writes the weights of the last step to last.safetensors without scoring them."""
        model = self._take_weights()
        if self.host == 0:
            model.update_meta(threshold=self.evaluations.threshold)
            with writing(self.folder.last):
                save_weights(model, self.folder.last)

    def _rescue(self) -> None:
        """Saves the last step after the next batch failed, if there is only one host."""
        if self.done == (self.saved or 0) or self.hosts > 1:
            return
        with contextlib.suppress(FCNError, OSError):
            self.save()
            self._checkpoints.wait()

    def _diverged(self, number: int, metrics: dict[str, Any]) -> DivergedError:
        """Saves the state before that step, and computes its batch once more for a diagnosis."""
        self.done, self._pending = number, None
        self.save()
        self._leave_weights()
        own = self.input.batch(number)
        batch = place_batch(own, self.mesh)
        parts = jax.jit(split_batch, static_argnums=1)(batch, self.config.accumulate)
        reason, advice = diagnose(
            inspect(self.objective, self.state.params, self.state.rest, batch, parts),
            step=number,
            lr=float(metrics["lr"]),
            losses=self.losses,
            labels=own["labels"],
            num_classes=self.model.spec.num_labels,
            pictures=[self.input.dataset.name(int(index)) for index in self.input.indices(number)],
        )
        weights = f"to start anew from the weights before it, give {self.folder.last} as {{weights}}"
        return DivergedError(reason, hint=f"{advice}; {weights} and choose another {{output}}")
