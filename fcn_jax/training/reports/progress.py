"""What a run shows while it trains: a bar with the time left on a terminal, now and then a line elsewhere."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10


class Bar:
    """Shows steps and scores; see `progress_bar`."""

    def __init__(self, progress: Progress, steps: int, first: int):
        self._progress, self._steps = progress, steps
        self._task = progress.add_task("training", total=steps, completed=first, facts="")
        self._last_line = 0.0

    def step(self, number: int, record: Mapping[str, float]) -> None:
        """Shows a step that is done, by its number from 0."""
        facts = "loss {loss:.4g}, lr {lr:.3g}, {images_per_second:.3g} images/s".format_map(record)
        self._progress.update(self._task, completed=number + 1, facts=facts)
        now = time.monotonic()
        if not self._progress.console.is_terminal and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._progress.console.print(f"step {number + 1} of {self._steps}: {facts}")

    def scores(self, done: int, scores) -> None:
        """Prints the scores after so many steps."""
        self._progress.console.print(
            f"after step {done}: mean IoU {scores.mean_iou:.4f}, pixel accuracy {scores.pixel_accuracy:.4f}, "
            f"mean accuracy {scores.mean_accuracy:.4f}"
        )


@contextlib.contextmanager
def progress_bar(steps: int, first: int, *, enabled: bool = True) -> Iterator[Bar]:
    """Shows the progress of a training from step `first` to `steps` while the block runs."""
    console = Console(quiet=not enabled, highlight=False, markup=False, emoji=False, soft_wrap=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not enabled or not console.is_terminal) as progress:
        yield Bar(progress, steps, first)
