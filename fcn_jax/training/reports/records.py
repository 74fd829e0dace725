"""What a run writes down as it goes: a line of JSON for each step and each evaluation; TensorBoard events.

`metrics.jsonl` has {"kind": "train", "step": 12, "loss": ..., ...} for the step number 12, counted from 0,
and {"kind": "eval", "step": 500, "mean_iou": ..., ...} for an evaluation after 500 steps. A number that is
none is null. A run that goes on from an earlier step first takes out the lines after it, and a last line that
a power cut has torn: the file is then that of a run that was never broken off. In TensorBoard both kinds
stand at the number of steps made.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weights_converter.files import replacing

FILE_NAME = "metrics.jsonl"
BEGINNING = '{"kind": "'  # of every line, by which a torn one is told from a file of something else


class Records:
    """Appends to `<folder>/metrics.jsonl`, and to `<folder>/tensorboard/` if tensorboardX is installed.

    Args:
      folder: of the run; None writes nothing, for hosts but the first.
      first_step: the step that the run begins or goes on with; lines of this step and later are removed.
      say: called with a message if tensorboardX is not installed.

    Raises:
      ValueError: there is a file of the name that holds something else.
      OSError: the folder is not there, or cannot be written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None,
        *,
        first_step: int = 0,
        say: Callable[[str], None] = lambda message: None,
    ):
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
            say("no TensorBoard events: pip install 'fcn_jax[tensorboard]' to get them")
            return
        # TensorBoard forgets what stands at `purge_step` and later.
        self._events = SummaryWriter(
            str(Path(folder) / "tensorboard"), purge_step=first_step + 1, flush_secs=5
        )

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
                if isinstance(value, float) and math.isfinite(value):
                    self._events.add_scalar(f"{record['kind']}/{name}", value, _end(record))


def read_records(path: str | os.PathLike) -> list[dict]:
    """Reads a run's lines; a torn last one is left out.

    Raises:
      ValueError: another line is none of ours, or the last one is not the beginning of one of ours.
      OSError: the file cannot be read.
    """
    *lines, torn = Path(path).read_bytes().decode("utf-8", errors="replace").split("\n")
    torn = torn.rstrip("\0")  # a power cut may leave zeros
    if not BEGINNING.startswith(torn[: len(BEGINNING)]):
        lines.append(torn)
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if record["kind"] not in ("train", "eval") or type(record["step"]) is not int:
                raise ValueError
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{os.fspath(path)}: expected a record of a run in line {number}, got {line[:60]!r}; "
                "move the file away or choose another --output"
            ) from None
        records.append(record)
    return records


def earlier_scores(path: Path, scoring: dict, done: int) -> dict[int, float]:
    """Reads the mean IoU after each step, up to `done`, that was scored in the same way."""
    records = read_records(path) if path.exists() else []
    return {
        record["step"]: math.nan if record["mean_iou"] is None else record["mean_iou"]
        for record in records
        if record["kind"] == "eval" and record["step"] <= done and scoring.items() <= record.items()
    }


def best_step(scored: dict[int, float]) -> int:
    """Gives the first step of the highest score; nan, where no pixel counts, is the lowest."""
    return max(sorted(scored), key=lambda step: -1 if math.isnan(scored[step]) else scored[step])


def _end(record: dict) -> int:
    """How many steps had been made when it was written."""
    return record["step"] + (record["kind"] == "train")


def _line(record: dict) -> str:
    return json.dumps(_finite(record), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Puts None for nan and infinities, also within lists and dicts."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
