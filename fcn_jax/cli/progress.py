"""A console, and progress for commands that process pictures: a bar on a terminal, elsewhere lines."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0


class _PlainConsole(Console):
    def on_broken_pipe(self) -> None:
        """Raises the BrokenPipeError; rich would end the process with status 1 and without a word."""
        raise


def plain_console(*, stderr: bool = False) -> Console:
    """Makes a console that prints text unchanged, without wrapping lines."""
    return _PlainConsole(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def progress_on(console: Console) -> Progress:
    """Makes a bar with a count and the remaining time; hidden if the console is not a terminal."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


class PictureProgress:
    """Shows how many pictures are done: in the bar, or if that is hidden in lines on standard error.

    A line comes after `SECONDS_BETWEEN_LINES` at the earliest.

    Args:
      progress: the bar.
      total: number of pictures.
      clock: returns seconds.
    """

    def __init__(self, progress: Progress, total: int, clock: Callable[[], float] = time.monotonic):
        self._progress, self._total, self._clock = progress, total, clock
        self._task = progress.add_task("pictures", total=total)
        self._done = 0
        self._start = self._last = clock()

    def advance(self) -> None:
        """Counts a picture."""
        self._done += 1
        self._progress.advance(self._task)
        now = self._clock()
        if self._progress.disable and now - self._last >= SECONDS_BETWEEN_LINES and self._done < self._total:
            self._last = now
            rate = self._done / (now - self._start)
            left = _duration((self._total - self._done) / rate)
            text = f"{self._done} of {self._total} pictures, {rate:.2g} a second, about {left} left"
            print(f"fcn-jax: {text}", file=sys.stderr)


class TileProgress:
    """A second bar, for the tiles of the current picture."""

    progress: Progress

    def __init__(self) -> None:
        self._task = None

    def __call__(self, done: int, total: int) -> None:
        """Shows that `done` tiles of `total` are done."""
        if done == 1:
            if self._task is not None:  # of a picture that failed half-way
                self.progress.remove_task(self._task)
            self._task = self.progress.add_task("tiles", total=total)
        if self._task is None:
            return
        self.progress.update(self._task, completed=done)
        if done == total:
            self.progress.remove_task(self._task)
            self._task = None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
