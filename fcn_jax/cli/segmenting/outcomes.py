"""Segments the pictures of a command, in order; a failure concerns one picture and is told with it."""

import collections
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fcn_jax.cli.messages import explain
from fcn_jax.inference import Segmentation, Segmenter


class Task(NamedTuple):
    """A picture to segment.

    Attributes:
      path: where it is.
      stem: start of the names of its output files, below the output folder.
      content: the picture itself, if it came from standard input.
    """

    path: Path
    stem: str
    content: bytes | None = None

    @property
    def source(self) -> Path | io.BytesIO:
        """What the segmenter reads."""
        return self.path if self.content is None else io.BytesIO(self.content)


class Outcome(NamedTuple):
    """What became of a task.

    Attributes:
      task: the picture.
      modified: when the picture was last changed, before it was read; see `last_change`.
      result: None after an error.
      error: None, or one that `explain` has words for.
    """

    task: Task
    modified: int | None
    result: Segmentation | None = None
    error: Exception | None = None


def last_change(path: Path) -> int | None:
    """Returns when a file was last changed, in nanoseconds; None if it cannot be found."""
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return None


def outcomes(segmenter: Segmenter, tasks: Iterable[Task]) -> Iterator[Outcome]:
    """Segments pictures; they are read ahead in threads. Yields one outcome for each task, in order.

    An error that does not tell which picture failed, such as a full memory, ends the segmenter's stream. Then
    the pictures that the stream had begun are done one by one, and another stream continues with the rest.

    Raises:
      Exception: a bug, for which `explain` has no words.
    """
    rest = iter(tasks)
    begun: collections.deque[tuple[Task, int | None]] = collections.deque()
    failed: list[Outcome] = []

    def begin() -> Iterator[Path | io.BytesIO]:
        for task in rest:
            begun.append((task, last_change(task.path)))
            yield task.source

    def note(source: object, error: Exception) -> None:
        failed.append(Outcome(*begun.popleft(), error=error))

    def noted() -> Iterator[Outcome]:
        while failed:
            yield failed.pop(0)

    while True:
        try:
            for result in segmenter.stream(begin(), on_error=note):
                yield from noted()
                yield Outcome(*begun.popleft(), result=result)
            yield from noted()
            return
        except Exception as error:
            if explain(error) is None or not (begun or failed):
                raise
        yield from noted()
        while begun:
            yield _alone(segmenter, *begun.popleft())


def _alone(segmenter: Segmenter, task: Task, modified: int | None) -> Outcome:
    try:
        return Outcome(task, modified, result=segmenter(task.source))
    except Exception as error:
        if explain(error) is None:
            raise
        return Outcome(task, modified, error=error)
