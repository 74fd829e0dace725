"""Whether a start of a training goes on with the run that is in its output folder already."""

import json
from pathlib import Path

from fcn_jax.datasets import DatasetError
from fcn_jax.training.config import Config, as_json

# What may change from one start of a run to the next, since the weights do not depend on it.
FREE = {
    "data_dir",
    "workers",
    "output",
    "resume",
    "checkpoint_every",
    "keep",
    "eval_every",
    "eval_size",
    "eval_limit",
    "val_split",
    "devices",
    "sharding",
    "distributed",
    "coordinator",
    "processes",
    "process",
}


def open_output(config: Config) -> Path:
    """Makes the output folder, or sees that the run in it is this one.

    Raises:
      ValueError: there is another run, or one that `config.resume` does not want to go on with.
      OSError: the folder cannot be made.
    """
    written = config.output / "config.json"
    if written.exists():
        if config.resume == "never":
            raise ValueError(
                f"{config.output}: there is a run in this folder already; choose another --output, or go on "
                "with it by --resume auto"
            )
        try:
            saved = json.loads(written.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{written}: expected the settings of a run, got no JSON: {error}") from error
        check_same_run(config, saved)
    config.output.mkdir(parents=True, exist_ok=True)
    return config.output


def check_goes_on(config: Config, pictures: str, saved: dict) -> None:
    """Sees that a checkpoint is of this run.

    Args:
      config: of this start.
      pictures: the training set's `fingerprint`.
      saved: the checkpoint's facts, "config" and "pictures".

    Raises:
      ValueError: it had other settings, or other pictures.
    """
    check_same_run(config, saved["config"])
    if saved["pictures"] != pictures:
        raise DatasetError(
            f"{config.output}: expected the pictures that this run began with, got others, more or fewer; "
            "bring them back, or start anew in another --output, from these weights by --weights"
        )


def check_same_run(config: Config, saved: dict) -> None:
    """Sees that a run with these settings can go on where one with those saved, as JSON, broke off.

    Raises:
      ValueError: settings differ that decide the weights.
    """
    now = as_json(config)
    differences = [
        f"{name}: was {saved.get(name)!r}, is {value!r}"
        for name, value in now.items()
        if name not in FREE and saved.get(name) != value
    ]
    if differences:
        raise ValueError(
            f"{config.output}: the run in this folder had other settings ({'; '.join(differences)}); "
            "repeat them to go on with it, or choose another --output"
        )
