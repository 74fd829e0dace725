"""What experiment trackers get: from a run, through MLflow's and W&B's own functions, and after an error.

Both packages are played by fakes in sys.modules that write down how they are called.
"""

import json
import sys
import types

import pytest

from fcn_jax.datasets import Scenes
from fcn_jax.errors import MissingPackageError
from fcn_jax.training import Run
from fcn_jax.training.reports.trackers import IDS, Trackers, make_trackers
from tests.training.tiny_run import metrics, stopping_after, tiny_config


class Calls(list):
    """A function that writes down its calls, and returns a value."""

    def __init__(self, log, name, value=None):
        self.log, self.name, self.value = log, name, value

    def __call__(self, *arguments, **settings):
        self.log.append((self.name, *arguments, settings) if settings else (self.name, *arguments))
        return self.value


@pytest.fixture
def mlflow(monkeypatch):
    """A fake mlflow; its calls, in order."""
    module, log = types.ModuleType("mlflow"), []
    run = types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))
    module.active_run = lambda: None
    module.start_run = Calls(log, "start_run", run)
    for name in ("log_params", "log_metrics", "log_artifact", "end_run"):
        setattr(module, name, Calls(log, name))
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return log


@pytest.fixture
def wandb(monkeypatch):
    """A fake wandb; its calls, in order."""
    module, log = types.ModuleType("wandb"), []
    run = types.SimpleNamespace(id="xyz", log=Calls(log, "log"), finish=Calls(log, "finish"))
    module.init = Calls(log, "init", run)
    module.Image = lambda path: ("Image", path)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return log


def run_tracked(output, **changes) -> Run:
    changes = {"track_every": 2, **changes}
    on_progress = changes.pop("on_progress", lambda done, total: None)
    scenes = {"train_set": Scenes(6, (40, 50)), "val_set": Scenes(3, (33, 47), seed=1)}
    return Run(tiny_config(output, **changes), on_progress=on_progress, **scenes)


def test_mlflow_gets_parameters_scores_and_sheets(mlflow, tmp_path):
    output = tmp_path / "tracked"
    assert run_tracked(output, track=("mlflow",)).train() == 0
    names = [name for name, *_ in mlflow]
    assert names[:2] == ["start_run", "log_params"]
    assert mlflow[0][1] == {"run_id": None, "run_name": "tracked"}
    assert mlflow[1][1]["lr"] == "0.001"
    assert mlflow[-1] == ("end_run", {"status": "FINISHED"})
    steps = {}
    for name, *arguments in mlflow:
        if name == "log_metrics":
            steps.setdefault(arguments[1]["step"], {}).update(arguments[0])
    assert sorted(steps) == [2, 3, 4, 6]  # every second step of training, and the evaluations after 3 and 6
    written = {line["step"]: line for line in metrics(output) if line["kind"] == "eval"}
    assert steps[3]["eval/mean_iou"] == written[3]["mean_iou"]
    assert "train/loss" not in steps[3]
    assert {"train/loss", "eval/pixel_accuracy"} <= set(steps[6])
    artifacts = [arguments for name, *arguments in mlflow if name == "log_artifact"]
    assert artifacts[0] == [str(output / "sheets" / "step0000003.png"), {"artifact_path": "sheet"}]
    assert artifacts[1] == [str(output / "curves.png"), {"artifact_path": "curves"}]


def test_wandb_gets_parameters_scores_and_sheets(wandb, tmp_path):
    output = tmp_path / "tracked"
    assert run_tracked(output, track=("wandb",)).train() == 0
    name, settings = wandb[0]
    assert (name, settings["id"], settings["resume"], settings["name"]) == ("init", None, "allow", "tracked")
    assert settings["config"]["crop_size"] == [33, 47]
    assert ("log", {"sheet": ("Image", str(output / "sheets" / "step0000006.png"))}, {"step": 6}) in wandb
    assert wandb[-1] == ("finish", {"exit_code": 0})


def test_a_run_that_resumes_is_the_same_to_its_tracker(mlflow, wandb, tmp_path):
    settings = {"track": ("mlflow", "wandb")}
    assert run_tracked(tmp_path, on_progress=stopping_after(2), **settings).train() == 143
    assert json.loads((tmp_path / IDS).read_text()) == {"mlflow": "abc", "wandb": "xyz"}
    assert mlflow[-1] == ("end_run", {"status": "KILLED"})
    assert wandb[-1] == ("finish", {"exit_code": 130})
    mlflow.clear()
    wandb.clear()
    assert run_tracked(tmp_path, **settings).train() == 0
    assert mlflow[0] == ("start_run", {"run_id": "abc", "run_name": None})
    assert "log_params" not in [name for name, *_ in mlflow]  # MLflow would refuse another value
    assert wandb[0][1]["id"] == "xyz"


def test_an_active_run_of_mlflows_stays_active(mlflow, tmp_path, monkeypatch):
    active = types.SimpleNamespace(info=types.SimpleNamespace(run_id="mine"))
    monkeypatch.setattr(sys.modules["mlflow"], "active_run", lambda: active)
    trackers = Trackers(make_trackers(["mlflow"]))
    trackers.begin({"lr": 1}, tmp_path)
    trackers.end("finished")
    assert [name for name, *_ in mlflow] == ["log_params"]
    assert not (tmp_path / IDS).exists()


def test_a_run_that_fails_says_so(mlflow, tmp_path):
    def full(done, total):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_tracked(tmp_path, track=("mlflow",), on_progress=full).train()
    assert mlflow[-1] == ("end_run", {"status": "FAILED"})


class Broken:
    """A tracker whose server is down after the first numbers."""

    name = "broken"

    def __init__(self):
        self.taken = []

    def begin(self, settings, folder, run_id):
        return None

    def numbers(self, done, numbers):
        if self.taken:
            raise ConnectionError("no route")
        self.taken.append((done, numbers))

    def picture(self, done, name, path):
        raise AssertionError("dropped before")

    def end(self, how):
        raise AssertionError("dropped before")


def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(tmp_path, caplog):
    tracker = Broken()
    trackers = Trackers([tracker])
    trackers.begin({}, tmp_path)
    trackers.train(1, {"loss": 2.0, "bad": float("nan"), "flag": True, "word": "x"})
    assert tracker.taken == [(1, {"train/loss": 2.0})]
    trackers.train(2, {"loss": 1.0})
    trackers.eval(2, {"mean_iou": 0.5}, {})
    trackers.end("failed")
    assert caplog.messages == ["broken: ConnectionError: no route; the run goes on without it"]


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingPackageError, match=rf"track: {name} is not installed; pip install .*\[{name}\]"
    ):
        run_tracked(tmp_path, track=(name,))
