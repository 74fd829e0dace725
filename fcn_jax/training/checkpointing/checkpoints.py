"""Checkpoints of a training run: the whole state at a step, saved in the background and checked when read.

    with Checkpoints("runs/voc/checkpoints") as checkpoints:
        restored = checkpoints.restore(state)
        ...
        checkpoints.save(step, state, {"epoch": 3})

Orbax writes the files, on one host or many: it copies the arrays from the devices, writes them in a thread,
and renames a step's folder into place when it is whole. This module adds a digest of each array. It computes
the digest before the array leaves its device, and again when the array is back. If the two differ, the step
is skipped with a message, and the next older step is read.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.training.checkpointing.array_names import named_arrays, stored_form
from fcn_jax.training.checkpointing.manifest import CheckpointsError, StepDamaged, make_manifest
from fcn_jax.training.checkpointing.step_files import ARRAYS, brief, read_facts, read_step

logger = logging.getLogger(__name__)


class CheckpointsDamaged(CheckpointsError):
    """There are steps, but all of them are damaged."""


class CheckpointsNotSaved(CheckpointsError):
    """A step could not be written; earlier steps remain."""


class Restored(NamedTuple):
    """What was saved at a step.

    Attributes:
      step: its number.
      tree: the arrays, bit for bit, with the structure and the shardings that the caller asked for.
      facts: the facts saved with them, as JSON values.
    """

    step: int
    tree: Any
    facts: dict


class Checkpoints:
    """The checkpoints in a folder, `<folder>/<step>`. The newest stay.

    One run at a time saves to a folder. Restoring changes nothing in it. Several hosts share a folder, and
    each calls the same methods in the same order.

    Args:
      folder: made by the first save.
      keep: how many of the newest steps stay.

    Attributes:
      skipped: messages about the steps that the last `restore` skipped, newest first.

    The log has a warning for each step that is skipped or moved aside.

    Raises:
      SettingError: `keep` is below 1, or the folder is a URL.
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int = 3):
        if keep < 1:
            raise SettingError(subject="keep", expected="at least 1 step", got=str(keep))
        if "://" in str(folder):
            raise SettingError(
                expected="a folder", got=f"the URL {folder}", hint="mount it and give the folder"
            )
        self.folder = Path(folder).absolute()
        self.skipped: list[str] = []
        self._keep = keep
        self._damaged: list[int] = []
        self._writer: Any = None  # Orbax's `training.Checkpointer`
        self._saving: tuple[int, Any] | None = None  # the step, and Orbax's `AsyncResponse`

    def steps(self) -> list[int]:
        """Lists the steps in the folder, damaged ones too, oldest first. Waits for the save under way."""
        self.wait()
        if not self.folder.is_dir():
            return []
        return sorted(
            int(path.name)
            for path in self.folder.iterdir()
            if path.name.isascii() and path.name.isdecimal() and path.is_dir()
        )

    def save(self, step: int, tree: Any, facts: Mapping | None = None) -> None:
        """Saves a step. Returns once the arrays are copied: they may be donated while a thread writes.

        First moves steps that `restore` found damaged to `damaged-<step>`, and removes half-written files of
        killed runs.

        Args:
          step: greater than all steps in the folder.
          tree: any pytree of jax arrays, including typed random keys.
          facts: whatever JSON can hold.

        Raises:
          CheckpointsNotSaved: this step cannot be written, or the one before could not.
          SettingError: the folder holds this step or later ones.
          ArrayError: there is nothing to save.
          WrongTypeError: JSON cannot hold the facts; or see `named_arrays`.
        """
        arrays = named_arrays(tree)
        stored = {name: stored_form(array) for name, array in arrays.items() if array.size}
        if not stored:
            raise ArrayError(expected="a tree of jax arrays to save", got="one without numbers")
        self.wait()
        self._move_damaged_aside()
        newest = max(self.steps(), default=-1)
        if step <= newest:
            raise SettingError(
                path=self.folder,
                expected=f"a step after {newest}, the newest there",
                got=str(step),
                hint="restore that step and continue from it, or choose another folder",
            )
        manifest = make_manifest(step, arrays, facts or {})
        with self._reporting(step):
            if self._writer is None:
                latest: Any = ocp.training.preservation_policies.LatestN(self._keep)
                self._writer = ocp.training.Checkpointer(
                    os.fspath(self.folder),
                    preservation_policy=latest,
                    cleanup_tmp_directories=True,
                )
            response = self._writer.save_async(
                step, stored, checkpointable_name=ARRAYS, custom_metadata=manifest, force=True
            )
            self._saving = step, response

    def wait(self) -> None:
        """Waits for the save under way.

        Raises:
          CheckpointsNotSaved: it failed. The next save starts afresh.
        """
        if self._saving is not None:
            step, response = self._saving
            with self._reporting(step):
                response.result()
            self._saving = None

    def newest_facts(self) -> dict | None:
        """Returns the facts of the newest step that has a whole manifest; None if no step has one.

        Raises:
          CheckpointsDiffer: the manifest has another version of the format.
        """
        for step in reversed(self.steps()):
            with contextlib.suppress(StepDamaged):
                return read_facts(self.folder / str(step))
        return None

    def restore(self, like: Any) -> Restored | None:
        """Returns the newest whole step, or None if there are no steps.

        Args:
          like: a tree as it was saved, of arrays or of `jax.ShapeDtypeStruct`s. The restored arrays get the
            shardings of these, whatever shardings were saved; without a sharding, the first device.

        Raises:
          CheckpointsDamaged: there are steps, but all are damaged.
          CheckpointsDiffer: the newest whole step belongs to another model or optimizer.
          CheckpointsNotSaved: the save under way failed.
          WrongTypeError, ArrayError: see `named_arrays`.
        """
        wanted = named_arrays(like)
        self.skipped, self._damaged = [], []
        for step in reversed(self.steps()):
            path = self.folder / str(step)
            try:
                arrays, facts = read_step(path, wanted)
            except StepDamaged as error:
                self.skipped.append(f"{path}: skipped step {step}, which is damaged: {error}")
                self._damaged.append(step)
                logger.warning(self.skipped[-1])
            else:
                tree = jax.tree.unflatten(jax.tree.structure(like), arrays.values())
                return Restored(step, tree, facts)
        if self.skipped:
            raise CheckpointsDamaged(
                path=self.folder,
                expected="a step that is whole",
                got=f"{len(self.skipped)} damaged",
                hint="restore one from a copy, or start again in another folder:\n" + "\n".join(self.skipped),
            )
        return None

    def close(self) -> None:
        """Waits for the save under way and closes the writer. Raises as `wait` does."""
        try:
            self.wait()
        finally:
            self._drop_writer()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _move_damaged_aside(self) -> None:
        if not self._damaged:
            return
        self._drop_writer()  # it keeps its own list of the steps
        for step in self._damaged:
            source = self.folder / str(step)
            if jax.process_index() == 0 and source.exists():
                target = _free_name(self.folder / f"damaged-{step}")
                source.rename(target)
                logger.warning(f"{source}: moved to {target.name}, since it is damaged")
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("fcn_jax: damaged steps moved aside")
        self._damaged = []

    @contextlib.contextmanager
    def _reporting(self, step: int) -> Iterator[None]:
        """Turns any error of Orbax, while it writes a step, into CheckpointsNotSaved."""
        try:
            yield
        except Exception as error:
            self._saving = None
            self._drop_writer()
            raise CheckpointsNotSaved(
                f"step {step} could not be saved: {brief(error)}",
                self.folder,
                hint="earlier steps remain; check that the folder is writable and has room",
            ) from error

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(Exception):  # it repeats the error of the save
                writer.close()


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
