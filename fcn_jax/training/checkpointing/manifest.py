"""The manifest of a checkpoint: its step, its arrays with their digests, and the facts of the run.

The manifest is JSON, stored with the arrays (as Orbax's custom metadata) together with its own SHA-256. A
step is damaged, and can be skipped, if its manifest or its arrays are not as saved. A whole step that does
not fit the current model and optimizer is an error, which says what differs.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence

import jax

from fcn_jax.errors import FCNError, WrongTypeError
from fcn_jax.training.checkpointing.array_names import Arrays, Like
from fcn_jax.training.checkpointing.digests import digests

FORMAT = 1


class CheckpointsError(FCNError):
    """Checkpoints cannot be saved or restored; the message names the folder, the reason and what to do."""


class CheckpointsDiffer(CheckpointsError):
    """A checkpoint is whole, but belongs to another model, optimizer or version of the format."""


class StepDamaged(Exception):
    """A step does not hold what was saved; the message says what differs."""


def make_manifest(step: int, arrays: Arrays, facts: Mapping) -> dict:
    """Describes a step, including digests.

    Args:
      step: its number.
      arrays: by name.
      facts: whatever the run needs later, as values that JSON can hold.

    Raises:
      WrongTypeError: JSON cannot hold the facts.
    """
    try:
        facts = json.loads(json.dumps(dict(facts)))
    except (TypeError, ValueError) as error:
        raise WrongTypeError(
            subject="facts", expected="what JSON can hold", got=f"{facts!r}: {error}"
        ) from error
    computed = digests(arrays)
    manifest = {
        "format": FORMAT,
        "step": step,
        "arrays": {name: describe(array) | {"digest": computed[name]} for name, array in arrays.items()},
        "facts": facts,
        "jax": jax.__version__,
        "orbax": importlib.metadata.version("orbax-checkpoint"),
    }
    return {"manifest": manifest, "sha256": _sha256(manifest)}


def read_manifest(sealed, step: int) -> dict:
    """Checks that a manifest is whole and belongs to the step, and returns it.

    Args:
      sealed: what `make_manifest` returned, read back.
      step: the number of the folder that held it.

    Raises:
      StepDamaged: it is not what `make_manifest` returned.
      CheckpointsDiffer: it is whole, but has another version of the format.
    """
    if not isinstance(sealed, dict) or set(sealed) != {"manifest", "sha256"}:
        raise StepDamaged("it has no manifest")
    manifest = sealed["manifest"]
    if _sha256(manifest) != sealed["sha256"]:
        raise StepDamaged("its manifest is not the one that was saved")
    if manifest["format"] != FORMAT:
        raise CheckpointsDiffer(
            expected=f"a checkpoint of format {FORMAT}",
            got=f"format {manifest['format']!r} (written with jax {manifest.get('jax')})",
            hint="read it with the version of fcn_jax that wrote it",
        )
    if manifest["step"] != step:
        raise StepDamaged(f"its arrays belong to step {manifest['step']}")
    return manifest


def changed_arrays(manifest: Mapping, arrays: Arrays) -> str | None:
    """Names the arrays that differ from the manifest; None if there are none."""
    found = digests(arrays)
    changed = [name for name in arrays if found[name] != manifest["arrays"][name]["digest"]]
    return f"numbers differ from the saved ones in {_listed(changed)}" if changed else None


def check_same_arrays(manifest: Mapping, wanted: Mapping[str, Like]) -> None:
    """Raises CheckpointsDiffer if names, shapes or dtypes differ from the wanted arrays'."""
    saved = {name: _shape_and_dtype(described) for name, described in manifest["arrays"].items()}
    here = {name: _shape_and_dtype(describe(array)) for name, array in wanted.items()}
    only_saved = [name for name in saved if name not in here]
    only_here = [name for name in here if name not in saved]
    other = [
        f"{name} (saved {saved[name]}, here {here[name]})"
        for name in here
        if name in saved and saved[name] != here[name]
    ]
    groups = {"saved but not here": only_saved, "here but not saved": only_here, "changed": other}
    if any(groups.values()):
        differences = "; ".join(f"{group}: {_listed(names)}" for group, names in groups.items() if names)
        raise CheckpointsDiffer(
            expected="the arrays of the current model and optimizer",
            got=f"others ({differences})",
            hint="build them as they were when the checkpoint was saved, or choose another folder",
        )


def describe(array: Like) -> dict:
    """Returns shape and dtype as JSON values: {"shape": [3, 3, 64, 64], "dtype": "float32"}."""
    return {"shape": list(array.shape), "dtype": str(array.dtype)}


def _shape_and_dtype(described: Mapping) -> str:
    return f"{described['dtype']} {tuple(described['shape'])}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _sha256(manifest) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
