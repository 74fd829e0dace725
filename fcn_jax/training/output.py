"""The folder that a run writes to. One run at a time uses it, and no file is lost silently."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from fcn_jax.errors import FCNError
from fcn_jax.locking import exclusive
from weights_converter.files import remove_leftovers

logger = logging.getLogger(__name__)


class OutputError(FCNError, OSError):
    """A run cannot write to its folder; the message names the file and what to do."""


class RunFolder:
    """The files of a run.

    Attributes:
      path: the folder.
      config: the run's settings.
      metrics: a line of JSON for each step and each evaluation.
      best, last: the best and the last weights.
      curves: a picture of the metrics.
      sheets: the folder with a sheet of pictures for each evaluation.
      checkpoints: the folder with the checkpoints that a run resumes from.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.jsonl"
        self.best = self.path / "best.safetensors"
        self.last = self.path / "last.safetensors"
        self.curves = self.path / "curves.png"
        self.sheets = self.path / "sheets"
        self.checkpoints = self.path / "checkpoints"

    def has_checkpoints(self) -> bool:
        """Whether the folder has a checkpoint, whole or damaged."""
        return self.checkpoints.is_dir() and any(path.name.isdecimal() for path in self.checkpoints.iterdir())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and locks other runs out of it; removes half-written files of killed runs.

        The lock ends with the process, even if that is killed.

        Raises:
          OutputError: another run holds the lock, or the folder cannot be made.
        """
        with contextlib.ExitStack() as stack:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(self.path / ".lock", on_wait=self._refuse))
                for folder in (self.path, self.sheets):
                    if folder.is_dir():
                        remove_leftovers(folder)
            yield

    def _refuse(self) -> None:
        raise OutputError(
            "another run is writing to this folder",
            self.path,
            hint="wait until it ends, or choose another {output}",
        )


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Turns an OSError in the block into an OutputError, which names the file and what to do.

    Raises:
      OutputError: the block met an OSError.
    """
    try:
        yield
    except FCNError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            path,
            hint="check that the folder is writable and has room; then the same settings resume from the "
            "last checkpoint",
        ) from error


def write_whole(file: io.FileIO, data: bytes) -> None:
    """Writes all data to an unbuffered file. If a full disk takes only a part, the next write raises."""
    while data:
        data = data[file.write(data) :]


def set_aside(path: Path, reason: str) -> Path:
    """Renames a damaged file, so that another can take its place: config.json becomes config-damaged.json.

    Returns:
      Its new path. A warning in the log gives the reason.
    """
    target = free_name(path.with_name(f"{path.stem}-damaged{path.suffix}"))
    with writing(path):
        path.rename(target)
    logger.warning("%s: damaged (%s), moved to %s", path, reason, target.name)
    return target


def free_name(path: Path) -> Path:
    """Adds a number to a name that is taken: damaged-7 becomes damaged-7-2."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
