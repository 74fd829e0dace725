"""Follows a run with Weights & Biases, in the project that WANDB_PROJECT names, else "fcn_jax".

Needs `pip install 'fcn_jax[wandb]'`. WANDB_MODE=offline keeps everything on this machine.
"""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcn_jax.training.reports.trackers import End

EXIT_CODES: dict[End, int] = {"finished": 0, "stopped": 130, "failed": 1}


class WandbTracker:
    """See `Tracker`. Settings are the run's config, pictures are images.

    Raises:
      ImportError: wandb is not installed.
    """

    name = "wandb"

    def __init__(self):
        self._wandb: Any = importlib.import_module("wandb")
        self._run: Any = None

    def begin(self, settings: Mapping[str, Any], folder: Path, run_id: str | None) -> str | None:
        """See `Tracker`."""
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "fcn_jax"),
            name=folder.name,
            id=run_id,
            resume="allow",
            config=dict(settings),
            dir=str(folder),
        )
        return self._run.id

    def numbers(self, done: int, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(numbers), step=done)

    def picture(self, done: int, name: str, path: Path) -> None:
        """See `Tracker`."""
        self._run.log({name: self._wandb.Image(str(path))}, step=done)

    def end(self, how: End) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=EXIT_CODES[how])
