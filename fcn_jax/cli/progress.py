"""A progress bar for commands that go through pictures."""

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn


def plain_console(*, stderr: bool = False) -> Console:
    """Gives a console that prints text as it is, in whole lines."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def progress_on(console: Console) -> Progress:
    """Gives a bar with a count and the time that is left; nothing where the console is no terminal."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
