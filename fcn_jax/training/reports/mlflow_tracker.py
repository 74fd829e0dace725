"""Follows a run with MLflow, where MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say.

Needs `pip install 'fcn_jax[mlflow]'`. Inside an active run of MLflow's it logs into that, and leaves it
active.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcn_jax.training.reports.trackers import End

STATUS: dict[End, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflowTracker:
    """See `Tracker`. Settings are parameters; pictures are artifacts, sheet/step0000500.png.

    Raises:
      ImportError: MLflow is not installed.
    """

    name = "mlflow"

    def __init__(self):
        self._mlflow: Any = importlib.import_module("mlflow")
        self._own = True

    def begin(self, settings: Mapping[str, Any], folder: Path, run_id: str | None) -> str | None:
        """See `Tracker`."""
        run = self._mlflow.active_run()
        self._own = run is None
        if run is None:
            run = self._mlflow.start_run(run_id=run_id, run_name=None if run_id else folder.name)
        if run_id is None:  # MLflow refuses to change a parameter
            self._mlflow.log_params({name: str(value) for name, value in settings.items()})
        return run.info.run_id if self._own else None

    def numbers(self, done: int, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._mlflow.log_metrics(dict(numbers), step=done)

    def picture(self, done: int, name: str, path: Path) -> None:
        """See `Tracker`."""
        self._mlflow.log_artifact(str(path), artifact_path=name)

    def end(self, how: End) -> None:
        """See `Tracker`."""
        if self._own:
            self._mlflow.end_run(status=STATUS[how])
