"""What a checkpoint says of itself: its step, its arrays with their digests, and the facts of the run.

The manifest is JSON, kept with the arrays (as Orbax's custom metadata) together with its own SHA-256. A step
with another manifest or other arrays than were saved is damaged and can be skipped. Sound arrays that are not
those of the model and the optimizer at hand are another matter: that is an error, and says what differs.
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
    """A checkpoint is sound, and of another model, optimizer or version of the format."""


class StepDamaged(Exception):
    """A step does not hold what was saved; the message says in what."""


def make_manifest(step: int, arrays: Arrays, facts: Mapping) -> dict:
    """Describes a step, digests included.

    Args:
      step: its number.
      arrays: by name.
      facts: whatever the run wants to find again; JSON must be able to hold it.

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
    """Takes out a manifest that is whole and of the step.

    Args:
      sealed: what `make_manifest` gave, read back.
      step: the number of the folder in which it was found.

    Raises:
      StepDamaged: it is not what `make_manifest` gave.
      CheckpointsDiffer: it is, of another version of the format.
    """
    if not isinstance(sealed, dict) or set(sealed) != {"manifest", "sha256"}:
        raise StepDamaged("it has no manifest")
    manifest = sealed["manifest"]
    if _sha256(manifest) != sealed["sha256"]:
        raise StepDamaged("its manifest is not the one that was saved")
    if manifest["format"] != FORMAT:
        raise CheckpointsDiffer(
            expected=f"a checkpoint of format {FORMAT}",
            got=f"format {manifest['format']!r} (of jax {manifest.get('jax')})",
            hint="read it with the version of fcn_jax that wrote it",
        )
    if manifest["step"] != step:
        raise StepDamaged(f"its arrays are those of step {manifest['step']}")
    return manifest


def changed_arrays(manifest: Mapping, arrays: Arrays) -> str | None:
    """Says which arrays, by name, are not those that the manifest describes; None if all are."""
    found = digests(arrays)
    changed = [name for name in arrays if found[name] != manifest["arrays"][name]["digest"]]
    return f"other numbers than were saved in {_listed(changed)}" if changed else None


def check_same_arrays(manifest: Mapping, wanted: Mapping[str, Like]) -> None:
    """Raises CheckpointsDiffer if names, shapes or dtypes are not those of the arrays wanted."""
    saved = {name: _shape_and_dtype(described) for name, described in manifest["arrays"].items()}
    here = {name: _shape_and_dtype(describe(array)) for name, array in wanted.items()}
    only_saved = [name for name in saved if name not in here]
    only_here = [name for name in here if name not in saved]
    other = [
        f"{name} (saved {saved[name]}, here {here[name]})"
        for name in here
        if name in saved and saved[name] != here[name]
    ]
    groups = {"saved but not here": only_saved, "here but not saved": only_here, "of other form": other}
    if any(groups.values()):
        differences = "; ".join(f"{group}: {_listed(names)}" for group, names in groups.items() if names)
        raise CheckpointsDiffer(
            expected="the arrays of the model and optimizer at hand",
            got=f"others ({differences})",
            hint="build them as they were when the checkpoint was saved, or choose another folder",
        )


def describe(array: Like) -> dict:
    """Gives shape and dtype as JSON can hold them: {"shape": [3, 3, 64, 64], "dtype": "float32"}."""
    return {"shape": list(array.shape), "dtype": str(array.dtype)}


def _shape_and_dtype(described: Mapping) -> str:
    return f"{described['dtype']} {tuple(described['shape'])}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _sha256(manifest) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
