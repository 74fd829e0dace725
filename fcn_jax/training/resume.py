"""Whether a start of a training goes on with the run that is in its output folder already."""

import json

from fcn_jax.datasets import DatasetError
from fcn_jax.errors import SettingError
from fcn_jax.training.config import Config, as_json
from fcn_jax.training.output import RunFolder, set_aside

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


def check_folder(config: Config, folder: RunFolder) -> None:
    """Sees that the run in a folder, if there is one, is this one.

    A damaged config.json is moved aside: the checkpoints know the settings too.

    Raises:
      SettingError: there is another run, or one that `config.resume` does not want to go on with.
    """
    if not folder.config.exists() and not folder.has_checkpoints():
        return
    if config.resume == "never":
        raise SettingError(
            "there is a run in this folder already",
            folder.path,
            hint='choose another {output}, or go on with it by {resume} "auto"',
        )
    if not folder.config.exists():
        return
    try:
        saved = json.loads(folder.config.read_bytes())
        if not isinstance(saved, dict):
            raise ValueError("not the settings of a run")
    except ValueError as error:
        set_aside(folder.config, str(error))
        return
    check_same_run(config, saved)


def check_goes_on(config: Config, pictures: str, saved: dict) -> None:
    """Sees that a checkpoint is of this run.

    Args:
      config: of this start.
      pictures: the training set's `fingerprint`.
      saved: the checkpoint's facts, "config" and "pictures".

    Raises:
      SettingError: it had other settings.
      DatasetError: it had other pictures.
    """
    check_same_run(config, saved["config"])
    if saved["pictures"] != pictures:
        raise DatasetError(
            path=config.output,
            expected="the pictures that this run began with",
            got="others, more or fewer",
            hint="bring them back, or start anew in another {output}, from these weights by {weights}",
        )


def check_same_run(config: Config, saved: dict) -> None:
    """Sees that a run with these settings can go on where one with those saved, as JSON, broke off.

    Raises:
      SettingError: settings differ that decide the weights.
    """
    before = as_json(Config()) | saved  # an older version may not have had a setting
    differences = [
        f"{name}: was {before[name]!r}, is {value!r}"
        for name, value in as_json(config).items()
        if name not in FREE and before[name] != value
    ]
    if differences:
        raise SettingError(
            f"the run in this folder had other settings ({'; '.join(differences)})",
            config.output,
            hint="repeat them to go on with it, or choose another {output}",
        )
