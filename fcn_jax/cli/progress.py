"""A console and a progress bar for commands that process pictures."""

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn


def plain_console(*, stderr: bool = False) -> Console:
    """Makes a console that prints text unchanged, without wrapping lines."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def progress_on(console: Console) -> Progress:
    """Makes a bar with a count and the remaining time; hidden if the console is not a terminal."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
