"""What a run writes down as it goes: a line of JSON for each step and each evaluation; TensorBoard events.

`metrics.jsonl` has {"kind": "train", "step": 12, "loss": ..., ...} for the step number 12, counted from 0,
and {"kind": "eval", "step": 500, "mean_iou": ..., ...} for an evaluation after 500 steps. A number that is
none is null. A run that goes on from an earlier step first takes out the lines after it, and a last line that
a power cut has torn: the file is then that of a run that was never broken off.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weights_converter.files import replacing

FILE_NAME = "metrics.jsonl"


class Records:
    """Appends to `<folder>/metrics.jsonl`, and to `<folder>/tensorboard/` if tensorboardX is installed.

    Args:
      folder: of the run; None writes nothing, for hosts but the first.
      first_step: the step that the run begins or goes on with; lines of this step and later are removed.

    Raises:
      ValueError: there is a file of the name that holds something else.
    """

    def __init__(self, folder: str | os.PathLike | None, *, first_step: int = 0):
        self._file = self._events = None
        if folder is None:
            return
        path = Path(folder) / FILE_NAME
        if path.exists():
            kept = [record for record in read_records(path) if _end(record) <= first_step]
            with replacing(path) as temporary:
                temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            return
        self._events = SummaryWriter(str(Path(folder) / "tensorboard"), purge_step=first_step)

    def train(self, step: int, facts: Mapping[str, Any]) -> None:
        """Writes down a step that was made, by its number from 0."""
        self._write({"kind": "train", "step": step, **facts})

    def eval(self, done: int, facts: Mapping[str, Any]) -> None:
        """Writes down the scores after so many steps."""
        self._write({"kind": "eval", "step": done, **facts})

    def close(self) -> None:
        """Ends the files."""
        for file in (self._file, self._events):
            if file is not None:
                file.close()
        self._file = self._events = None

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _write(self, record: dict) -> None:
        if self._file is not None:
            self._file.write(_line(record))
            self._file.flush()
        if self._events is not None:
            for name, value in record.items():
                if isinstance(value, float):
                    self._events.add_scalar(f"{record['kind']}/{name}", value, record["step"])


def read_records(path: str | os.PathLike) -> list[dict]:
    """Reads a run's lines; a torn last one is left out.

    Raises:
      ValueError: another line is none of ours.
      OSError: the file cannot be read.
    """
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    records = []
    for number, line in enumerate(lines[:-1], 1):  # the last is empty, or torn
        try:
            record = json.loads(line)
            if record["kind"] not in ("train", "eval") or not isinstance(record["step"], int):
                raise ValueError
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{os.fspath(path)}: expected a record of a run in line {number}, got {line[:60]!r}; "
                "move the file away or choose another --output"
            ) from None
        records.append(record)
    return records


def _end(record: dict) -> int:
    """How many steps had been made when it was written."""
    return record["step"] + (record["kind"] == "train")


def _line(record: dict) -> str:
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
    return json.dumps(finite) + "\n"
