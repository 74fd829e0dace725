"""Reads one step of a run from its files. A damaged step and a step that does not fit are separate errors.

Orbax writes the files, but does not read them here: the manifest is plain JSON, and TensorStore reads the
arrays. Orbax would log pages about a file that it cannot read. It also reads arrays in coroutines, and
abandons them when one fails; Python then warns about each, through the hooks of the process.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore
from jax.experimental import multihost_utils

from fcn_jax.training.checkpointing.array_names import Arrays, Like, from_stored, stored_like
from fcn_jax.training.checkpointing.manifest import (
    CheckpointsDiffer,
    StepDamaged,
    changed_arrays,
    check_same_arrays,
    read_manifest,
)

ARRAYS = "arrays"
"""The subfolder of a step that holds the arrays."""


def read_step(path: Path, wanted: Mapping[str, Like]) -> tuple[Arrays, dict]:
    """Reads a step and checks it. Several hosts all call this; either all return or all raise.

    Args:
      path: the step's folder, named by its number.
      wanted: the arrays by name, or their shapes, dtypes and shardings.

    Returns:
      The arrays, in the order and with the shardings of `wanted`; and the facts.

    Raises:
      StepDamaged: something is missing, cannot be read, or differs from what was saved.
      CheckpointsDiffer: the manifest is whole, but describes other arrays.
      MemoryError, jax.errors.JaxRuntimeError: the machine failed; the step may be whole.
    """
    manifest, arrays, reason = {}, {}, None
    try:
        manifest = read_manifest(_read_custom_metadata(path), int(path.name))
        check_same_arrays(manifest, wanted)
        form = {name: stored_like(like) for name, like in wanted.items() if like.size}
        stored = read_arrays(path / ARRAYS, form)
        arrays = {name: from_stored(stored.get(name), like) for name, like in wanted.items()}
    except CheckpointsDiffer as error:
        raise error.about(path) from None
    except StepDamaged as error:
        reason = str(error)
    except Exception as error:  # TensorStore raises errors of many classes
        if isinstance(first_cause(error), MemoryError | jax.errors.JaxRuntimeError):
            raise
        reason = brief(error)
    _agree(reason)
    _agree(changed_arrays(manifest, arrays))
    return arrays, manifest["facts"]


def read_facts(path: Path) -> dict:
    """Reads the facts of a step, without its arrays.

    Raises:
      StepDamaged: the step has no whole manifest.
      CheckpointsDiffer: the manifest has another version of the format.
    """
    return read_manifest(_read_custom_metadata(path), int(path.name))["facts"]


def _read_custom_metadata(path: Path) -> Any:
    """Reads the metadata that was saved with the arrays."""
    try:
        written = json.loads((path / "_CHECKPOINT_METADATA").read_bytes())
    except (OSError, ValueError):
        return None
    return written.get("custom_metadata") if isinstance(written, dict) else None


def read_arrays(folder: Path, form: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
    """Reads arrays by name; each host reads what its own devices hold.

    Args:
      form: shape, dtype and sharding of each.

    Raises:
      StepDamaged: an array has another shape or dtype.
      ValueError: a file is missing or cannot be read.
    """
    base = {"driver": "file", "path": f"{folder}/"}
    opened = {
        name: tensorstore.open(
            {"driver": "auto", "kvstore": {"driver": "ocdbt", "base": base, "path": f"{name}/"}}, open=True
        )
        for name in form
    }
    started = {name: _start_reading(name, opened[name].result(), like) for name, like in form.items()}
    return {name: _gather(parts, form[name]) for name, parts in started.items()}


def _start_reading(name: str, store: Any, like: jax.ShapeDtypeStruct) -> dict[Any, Any]:
    """Starts to read the part of each device of this host. Devices with the same part share one read.

    Returns:
      {device: a future of its part}.
    """
    if store.shape != like.shape or store.dtype.numpy_dtype != like.dtype:
        raise StepDamaged(f"{name} is stored as {store.dtype.name} {store.shape}, not as the manifest says")
    reads: dict[str, Any] = {}
    parts = {}
    for device, index in like.sharding.addressable_devices_indices_map(like.shape).items():
        if str(index) not in reads:
            reads[str(index)] = store[index].read()
        parts[device] = reads[str(index)]
    return parts


def _gather(parts: dict[Any, Any], like: jax.ShapeDtypeStruct) -> jax.Array:
    on_devices = [jax.device_put(part.result(), device, may_alias=False) for device, part in parts.items()]
    return jax.make_array_from_single_device_arrays(like.shape, like.sharding, on_devices)


def first_cause(error: BaseException) -> BaseException:
    """Returns the first error in a chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def brief(error: BaseException) -> str:
    """Returns the first cause of an error in one line; Orbax and TensorStore write pages."""
    cause = first_cause(error)
    message = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {message[:300]}{'...' if len(message) > 300 else ''}"


def _agree(reason: str | None) -> None:
    """Raises StepDamaged on every host if any host has a reason."""
    whole = reason is None
    if jax.process_count() > 1:
        whole = multihost_utils.process_allgather(np.array(whole)).all()
    if not whole:
        raise StepDamaged(reason or "another host cannot read it")
