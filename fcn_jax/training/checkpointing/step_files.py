"""Reading one step of a run back from its files, and telling a damaged step from one that does not fit."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from fcn_jax.training.checkpointing.array_names import Arrays, Like, from_stored, stored_like
from fcn_jax.training.checkpointing.manifest import (
    CheckpointsDiffer,
    StepDamaged,
    changed_arrays,
    check_same_arrays,
    read_manifest,
)

ARRAYS = "arrays"
"""The name of the folder within a step's that holds the arrays."""


def read_step(path: Path, wanted: Mapping[str, Like]) -> tuple[Arrays, dict]:
    """Reads a step and checks it. On several hosts all of them call this, and all come to the same end.

    Args:
      path: the step's folder, named by its number.
      wanted: the arrays by name, or their shapes, dtypes and shardings.

    Returns:
      The arrays, in the order and where they are wanted, and the facts.

    Raises:
      StepDamaged: something is missing, cannot be read or has other numbers than were saved.
      CheckpointsDiffer: the manifest is whole, and that of other arrays.
      MemoryError, jax.errors.JaxRuntimeError: the machine failed, which tells nothing about the step.
    """
    manifest, arrays, reason = {}, {}, None
    try:
        manifest = read_manifest(ocp.checkpointables_metadata(path).custom_metadata, int(path.name))
        check_same_arrays(manifest, wanted)
        form = {name: stored_like(like) for name, like in wanted.items() if like.size}
        stored = ocp.load(path, form, checkpointable_name=ARRAYS)
        arrays = {name: from_stored(stored.get(name), like) for name, like in wanted.items()}
    except CheckpointsDiffer as error:
        raise CheckpointsDiffer(f"{path}: {error}") from None
    except StepDamaged as error:
        reason = str(error)
    except Exception as error:  # Orbax raises anything at what it cannot read, Exception itself too
        if isinstance(first_cause(error), MemoryError | jax.errors.JaxRuntimeError):
            raise
        reason = brief(error)
    _agree(reason)
    _agree(changed_arrays(manifest, arrays))
    return arrays, manifest["facts"]


def first_cause(error: BaseException) -> BaseException:
    """Follows an error to where it began."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def brief(error: BaseException) -> str:
    """The first cause of an error, in a line: Orbax and TensorStore tell pages."""
    cause = first_cause(error)
    message = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {message[:300]}{'...' if len(message) > 300 else ''}"


def _agree(reason: str | None) -> None:
    """Raises StepDamaged, on every host, if any host has a reason to."""
    whole = reason is None
    if jax.process_count() > 1:
        whole = multihost_utils.process_allgather(np.array(whole)).all()
    if not whole:
        raise StepDamaged(reason or "another host cannot read it")
