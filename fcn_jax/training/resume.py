"""Checks that a training can resume the run that is in its output folder."""

import json

from fcn_jax.datasets import DatasetError, SegmentationDataset
from fcn_jax.datasets.dataset import fingerprint
from fcn_jax.errors import SettingError
from fcn_jax.training.config import Config, as_json
from fcn_jax.training.output import RunFolder, set_aside

# Settings that may change from one start of a run to the next: the weights do not depend on them.
FREE = {
    "data_dir",
    "check_data",
    "workers",
    "output",
    "resume",
    "checkpoint_every",
    "keep",
    "track",
    "track_every",
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
    """Checks that a folder holds this run or none.

    A damaged config.json is moved aside: the checkpoints hold the settings too.

    Raises:
      SettingError: the folder holds another run; or it holds a run, and `config.resume` is "never".
    """
    if not folder.config.exists() and not folder.has_checkpoints():
        return
    if config.resume == "never":
        raise SettingError(
            "there is a run in this folder already",
            folder.path,
            hint='choose another {output}, or resume it with {resume} "auto"',
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


def run_facts(config: Config, train_set: SegmentationDataset) -> dict:
    """Returns what every checkpoint of a run says of the run: its settings, classes and pictures."""
    return {
        "config": as_json(config),
        "categories": list(train_set.categories),
        "pictures": fingerprint(train_set),
    }


def check_goes_on(config: Config, facts: dict, saved: dict) -> None:
    """Checks that a checkpoint belongs to this run.

    Args:
      config: the settings of this start.
      facts: the `run_facts` of this start.
      saved: the checkpoint's facts.

    Raises:
      SettingError: the checkpoint's run had other settings.
      DatasetError: the checkpoint's run had other classes or pictures.
    """
    check_same_run(config, saved["config"])
    new_run = "or start a new run from its weights, with {weights} and another {output}"
    before = saved.get("categories", facts["categories"])  # older checkpoints do not say
    if before != facts["categories"]:
        raise DatasetError(
            path=config.output,
            expected=f"the classes that this run began with ({', '.join(before)})",
            got=", ".join(facts["categories"]),
            hint=f"restore the list of classes; {new_run}",
        )
    if saved["pictures"] != facts["pictures"]:
        raise DatasetError(
            path=config.output,
            expected="the pictures that this run began with",
            got="others, more or fewer",
            hint=f"put them back; {new_run}",
        )


def check_same_run(config: Config, saved: dict) -> None:
    """Checks that a run with these settings can resume a run with the saved ones.

    Args:
      config: the settings of this start.
      saved: the earlier settings, as JSON values.

    Raises:
      SettingError: the weights depend on a setting that differs.
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
            hint="repeat them to resume it, or choose another {output}",
        )
