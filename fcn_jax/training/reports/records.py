"""What a run writes down as it goes: a line of JSON for each step and each evaluation; TensorBoard events.

`metrics.jsonl` has {"kind": "train", "step": 12, "loss": ..., ...} for the step number 12, counted from 0,
and {"kind": "eval", "step": 500, "mean_iou": ..., ...} for an evaluation after 500 steps. NaN and infinities
are null. A run that goes on from an earlier step first takes out the lines after it, and a last line that a
power cut has torn: the file is then that of a run that was never broken off. In TensorBoard both kinds stand
at the number of steps made.
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
BEGINNING = b'{"kind": "'  # of every line, by which a torn one is told from a file of something else


class RecordsError(FCNError, ValueError):
    """A file does not hold the records of a run."""


class Records:
    """Appends to `<folder>/metrics.jsonl`, and to `<folder>/tensorboard/` if tensorboardX is installed.

    A damaged file is moved aside; the lines that can be read stay.

    Args:
      folder: of the run; None writes nothing, for hosts but the first.
      first_step: the step that the run begins or goes on with; lines of this step and later are removed.

    Attributes:
      evaluations: the records of evaluations that were there, up to that step.

    Raises:
      OutputError: the folder is not there, or cannot be written to.
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
                logger.warning("%s is missing: it begins anew after step %d", self._path, first_step)
            self._file = self._path.open("ab", buffering=0)
        self._events = Events.if_installed(Path(folder) / "tensorboard", first_step + 1)

    def train(self, step: int, facts: Mapping[str, Any]) -> None:
        """Writes down a step that was made, by its number from 0."""
        self._write({"kind": "train", "step": step, **facts})

    def eval(self, done: int, facts: Mapping[str, Any]) -> None:
        """Writes down the scores after so many steps."""
        self._write({"kind": "eval", "step": done, **facts})

    def close(self) -> None:
        """Ends the files."""
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
    """Reads a run's lines; a torn last one is left out.

    Raises:
      RecordsError: another line is none of ours, or the last one is not the beginning of one of ours.
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
    """Leaves in the file what can be read and was written before a step; gives these records."""
    records, damaged = _scan(path)
    if damaged:
        lines = ", ".join(str(number) for number, _ in damaged[:8])
        set_aside(path, f"no record of a run in line {lines}{', ...' if len(damaged) > 8 else ''}")
    kept = [record for record in records if _end(record) <= first_step]
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(map(_line, kept)))
    return kept


def _scan(path: Path) -> tuple[list[dict], list[tuple[int, bytes]]]:
    """Reads the records, and the lines that are none with their numbers; a torn last line is neither."""
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
    """How many steps had been made when it was written."""
    return record["step"] + (record["kind"] == "train")


def _line(record: dict) -> bytes:
    return json.dumps(_finite(record), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    """Puts None for NaN and infinities, also within lists and dicts."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
