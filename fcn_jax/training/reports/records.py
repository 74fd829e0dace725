"""The records of a run: a line of JSON for each step and each evaluation; TensorBoard events.

`metrics.jsonl` has {"kind": "train", "step": 12, "loss": ..., ...} for the step number 12, counted from 0,
and {"kind": "eval", "step": 500, "mean_iou": ..., ...} for an evaluation after 500 steps. NaN and infinities
are null. A run that resumes first removes the lines after its checkpoint, and a last line that a power cut
left incomplete. The file then equals an uninterrupted run's. TensorBoard shows both kinds at the number of
steps made.
"""

import json
import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fcn_jax.errors import FCNError
from fcn_jax.training.output import set_aside, write_whole, writing
from fcn_jax.training.reports.events import Events
from weights_converter.files import replacing

logger = logging.getLogger(__name__)

FILE_NAME = "metrics.jsonl"
BEGINNING = b'{"kind": "'  # of every line; an incomplete last line without it is damaged


class RecordsError(FCNError, ValueError):
    """A file does not hold the records of a run."""


class Records:
    """Appends to `<folder>/metrics.jsonl`, and to `<folder>/tensorboard/` if tensorboardX is installed.

    A damaged file is moved aside; a new file keeps its readable lines.

    Args:
      folder: the run's; None writes nothing, on all hosts but the first.
      first_step: the first step of this start; lines of this step and later are removed.

    Attributes:
      evaluations: the evaluations in the file, up to that step.

    Raises:
      OutputError: the folder does not exist or is not writable.
    """

    def __init__(self, folder: str | os.PathLike | None, *, first_step: int = 0):
        self.evaluations: list[dict] = []
        self._file = self._events = None
        if folder is None:
            return
        self._path = Path(folder) / FILE_NAME
        with writing(self._path):
            if self._path.exists():
                kept = _mend(self._path, first_step)
                self.evaluations = [record for record in kept if record["kind"] == "eval"]
            elif first_step > 0:
                logger.warning("%s is missing: a new file begins after step %d", self._path, first_step)
            self._file = self._path.open("ab", buffering=0)
        self._events = Events.if_installed(Path(folder) / "tensorboard", first_step + 1)

    def train(self, step: int, facts: Mapping[str, Any]) -> None:
        """Records a step, by its number from 0."""
        self._write({"kind": "train", "step": step, **facts})

    def eval(self, done: int, facts: Mapping[str, Any]) -> None:
        """Records the scores after `done` steps."""
        self._write({"kind": "eval", "step": done, **facts})

    def close(self) -> None:
        """Closes the files."""
        file, events = self._file, self._events
        self._file = self._events = None
        if file is not None:
            file.close()
        if events is not None:
            events.close()

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _write(self, record: dict) -> None:
        if self._file is not None:
            with writing(self._path):
                write_whole(self._file, _line(record))
        if self._events is not None:
            numbers = {
                f"{record['kind']}/{name}": value
                for name, value in record.items()
                if isinstance(value, float) and math.isfinite(value)
            }
            self._events.write(_end(record), numbers)


def read_records(path: str | os.PathLike) -> list[dict]:
    """Reads a run's records; leaves out an incomplete last line.

    Raises:
      RecordsError: a line is not a record, or the last line is not the beginning of a record.
      OSError: the file cannot be read.
    """
    records, damaged = _scan(Path(path))
    if damaged:
        number, line = damaged[0]
        raise RecordsError(
            path=path,
            expected=f"a record of a run in line {number}",
            got=repr(line[:60].decode("utf-8", "replace")),
            hint="move the file away",
        )
    return records


def _mend(path: Path, first_step: int) -> list[dict]:
    """Keeps only the readable records before a step in the file. Returns these records."""
    records, damaged = _scan(path)
    if damaged:
        lines = ", ".join(str(number) for number, _ in damaged[:8])
        set_aside(path, f"no record of a run in line {lines}{', ...' if len(damaged) > 8 else ''}")
    kept = [record for record in records if _end(record) <= first_step]
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(map(_line, kept)))
    return kept


def _scan(path: Path) -> tuple[list[dict], list[tuple[int, bytes]]]:
    """Returns the records, and the damaged lines with their numbers; skips an incomplete last line."""
    *lines, torn = path.read_bytes().split(b"\n")
    torn = torn.rstrip(b"\0")  # a power cut may leave zeros
    if not BEGINNING.startswith(torn[: len(BEGINNING)]):
        lines.append(torn)
    return _sorted_out(lines)


def _sorted_out(lines: Iterable[bytes]) -> tuple[list[dict], list[tuple[int, bytes]]]:
    records, damaged = [], []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if record["kind"] not in ("train", "eval") or type(record["step"]) is not int:
                raise ValueError
        except (ValueError, TypeError, KeyError):
            damaged.append((number, line))
        else:
            records.append(record)
    return records, damaged


def _end(record: dict) -> int:
    """Returns the number of steps that were made when the record was written."""
    return record["step"] + (record["kind"] == "train")


def _line(record: dict) -> bytes:
    return json.dumps(_finite(record), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    """Replaces NaN and infinities by None, also within lists and dicts."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
