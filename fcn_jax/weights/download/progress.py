"""What a download says on the standard error stream."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Moved = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Reporter:
    """How a download speaks.

    Attributes:
      moved: takes the number of bytes here and the number there are, None if that is not known.
      note: takes a line of text.
    """

    moved: Moved
    note: Callable[[str], None]


def say(text: str) -> None:
    """Prints a line on the standard error stream."""
    print(f"fcn_jax: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def reporting(title: str, *, progress: bool) -> Iterator[Reporter]:
    """A progress bar on a terminal, plain lines elsewhere, nothing at all without `progress`."""
    if not progress or sys.stderr is None:
        yield Reporter(moved=lambda here, total: None, note=lambda text: None)
    elif not sys.stderr.isatty():
        say(f"fetching {title}")
        yield Reporter(moved=lambda here, total: None, note=say)
    else:
        yield from _bar(title)


def _bar(title: str) -> Iterator[Reporter]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield Reporter(
            moved=lambda here, total: bar.update(task, completed=here, total=total),
            note=lambda text: bar.console.print(f"fcn_jax: {text}", markup=False, highlight=False),
        )
