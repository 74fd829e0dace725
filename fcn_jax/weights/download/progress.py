"""The bar that a download shows on a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the total; the total is None if unknown."""


@contextlib.contextmanager
def bar(title: str, *, shown: bool) -> Iterator[OnProgress]:
    """Shows a bar on standard error, if that is a terminal.

    Args:
      title: the text before the bar.
      shown: False shows nothing.

    Yields:
      A function that moves the bar.
    """
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return

    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as shown_bar:
        task = shown_bar.add_task(title, total=None)
        yield lambda done, total: shown_bar.update(task, completed=done, total=total)
