"""Experiment trackers: MLflow, Weights & Biases, or your own class; they get settings, numbers and sheets.

    Run(config, trackers=[MyTracker()])
    fcn-jax train ... --track mlflow wandb

A tracker must not end a training: after an error the log says so, and the run goes on without the tracker.
"""

import importlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from fcn_jax.errors import MissingPackageError
from weights_converter.files import replacing

logger = logging.getLogger(__name__)

End = Literal["finished", "stopped", "failed"]
IDS = "trackers.json"
"""File in the run's folder: {tracker: its id of the run}, for a run that resumes."""


class Tracker(Protocol):
    """What follows a run. Numbers have names such as "train/loss" and "eval/mean_iou".

    Attributes:
      name: in messages, and for its id.
    """

    name: str

    def begin(self, settings: Mapping[str, Any], folder: Path, run_id: str | None) -> str | None:
        """Begins to follow a run, or goes on.

        Args:
          settings: of the run, as JSON values.
          folder: of the run.
          run_id: what this method returned at the run's first start; None at the first.

        Returns:
          What finds the run again; None if nothing does.
        """
        ...

    def numbers(self, done: int, numbers: Mapping[str, float]) -> None:
        """Takes finite numbers by name, after `done` steps."""
        ...

    def picture(self, done: int, name: str, path: Path) -> None:
        """Takes a picture, a PNG file: "sheet" or "curves"."""
        ...

    def end(self, how: End) -> None:
        """Ends: the run is done, was stopped and may resume, or failed."""
        ...


PACKAGES = {"mlflow": ("mlflow_tracker", "MLflowTracker"), "wandb": ("wandb_tracker", "WandbTracker")}
"""{package: the module and the class here that use it}."""


def make_trackers(names: Iterable[str]) -> list[Tracker]:
    """Makes the trackers with these names in `PACKAGES`.

    Raises:
      MissingPackageError: the package is not installed.
    """
    made = []
    for name in dict.fromkeys(names):
        module, tracker = PACKAGES[name]
        try:
            made.append(getattr(importlib.import_module(f"{__package__}.{module}"), tracker)())
        except ImportError as error:
            raise MissingPackageError(
                f"{name} is not installed", subject="track", hint=f"pip install 'fcn_jax[{name}]'"
            ) from error
    return made


class Trackers:
    """Passes what a run records on to its trackers.

    Args:
      trackers: none on all hosts but the first.
      every: steps between the numbers of training.
    """

    def __init__(self, trackers: Sequence[Tracker] = (), every: int = 1):
        self._trackers, self._every = list(trackers), every

    def begin(self, settings: Mapping[str, Any], folder: Path) -> None:
        """Begins in a run's folder, where the trackers' ids are kept."""
        if not self._trackers:
            return
        known = _read_ids(folder / IDS)
        ids = dict(known)

        def begin(tracker: Tracker) -> None:
            found = tracker.begin(settings, folder, known.get(tracker.name))
            if found is not None:
                ids[tracker.name] = found

        self._each(begin)
        if ids != known:
            with replacing(folder / IDS) as temporary:
                temporary.write_text(json.dumps(ids) + "\n", encoding="utf-8")

    def train(self, done: int, facts: Mapping[str, Any]) -> None:
        """Passes on the numbers of a step, of every so many."""
        if done % self._every == 0:
            self._numbers("train", done, facts)

    def eval(self, done: int, facts: Mapping[str, Any], pictures: Mapping[str, Path]) -> None:
        """Passes on scores, and pictures by name; those whose file is missing are left out."""
        self._numbers("eval", done, facts)
        for name, path in pictures.items():
            if path.exists():
                self._each(lambda tracker, name=name, path=path: tracker.picture(done, name, path))

    def end(self, how: End) -> None:
        """Ends; later calls do nothing."""
        self._each(lambda tracker: tracker.end(how))
        self._trackers.clear()

    def _numbers(self, kind: str, done: int, facts: Mapping[str, Any]) -> None:
        numbers = {
            f"{kind}/{name}": float(value)
            for name, value in facts.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        }
        if numbers:
            self._each(lambda tracker: tracker.numbers(done, numbers))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except Exception as error:  # of another package, of a server, of the network
                logger.warning(
                    "%s: %s: %s; the run goes on without it", tracker.name, type(error).__name__, error
                )
                self._trackers.remove(tracker)


def _read_ids(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):  # without them a new run of the tracker begins
        return {}
    return (
        {name: value for name, value in found.items() if isinstance(value, str)}
        if isinstance(found, dict)
        else {}
    )
