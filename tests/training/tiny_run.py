"""Runs of a network of a few thousand numbers, on small drawn scenes, for tests of what a run does."""

import signal
from pathlib import Path

from fcn_jax.datasets import Scenes
from fcn_jax.training import Config, Run
from fcn_jax.training.reports.records import read_records
from weights_converter import read_safetensors

SETTINGS = {
    "dataset": "scenes",
    "model": "fcn32s_alexnet",
    "features": (2, 4, 4, 4, 6),
    "fc_features": 8,
    "batch_size": 2,
    "base_size": None,
    "crop_size": (33, 47),
    "steps": 6,
    "lr": 1e-3,
    "average": 0.9,
    "eval_every": 3,
    "eval_limit": 2,
    "checkpoint_every": 2,
    "devices": 1,
}


def words(settings):
    """Writes settings as a command line has them."""
    found = []
    for name, value in settings.items():
        values = value if isinstance(value, tuple) else (value,)
        found += [f"--{name.replace('_', '-')}", *map(str, values)]
    return found


def tiny_config(output: Path, **changes) -> Config:
    """Gives the settings of a run of six steps that evaluates twice."""
    return Config(**{**SETTINGS, "output": output, **changes})


def tiny_run(output: Path, *, pictures: int = 6, on_progress=lambda done, total: None, **changes) -> Run:
    """Makes such a run; it has not begun."""
    return Run(
        tiny_config(output, **changes),
        train_set=Scenes(pictures, (40, 50)),
        val_set=Scenes(3, (33, 47), seed=1),
        on_progress=on_progress,
    )


def stopping_after(step: int, number: int = signal.SIGTERM):
    """Gives an `on_progress` that sends this process a signal after so many steps."""

    def on_progress(done: int, total: int) -> None:
        if done == step:
            signal.raise_signal(number)

    return on_progress


def metrics(output: Path) -> list[dict]:
    """Reads everything that a run wrote down but its speed."""
    lines = read_records(output / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


def kinds(output: Path) -> list[str]:
    """Reads what a run wrote down, by kind."""
    return [record["kind"] for record in read_records(output / "metrics.jsonl")]


def assert_same_weights(one: Path, other: Path) -> None:
    """Compares two files of weights bit for bit."""
    (expected, _), (found, _) = read_safetensors(one), read_safetensors(other)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name
