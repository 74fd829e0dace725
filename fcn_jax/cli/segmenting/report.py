"""What `fcn-jax segment` says of each picture: in the summary, on standard output, on standard error."""

from rich.console import Console

from fcn_jax.cli.messages import drop_output, explain, say, shown
from fcn_jax.cli.progress import PictureProgress
from fcn_jax.cli.segmenting.output_plan import OutputPlan
from fcn_jax.cli.segmenting.summary import Summary
from fcn_jax.cli.segmenting.table import format_table, printable
from fcn_jax.cli.segmenting.writing import Written


class Report:
    """Records and shows what became of each picture.

    Args:
      plan: which files a picture gets.
      summary: records go there.
      progress: counts pictures.
      console: tables go there.
      quiet: prints no tables.

    Attributes:
      done: number of pictures whose files are written.
    """

    def __init__(
        self, plan: OutputPlan, summary: Summary, progress: PictureProgress, console: Console, quiet: bool
    ):
        self._plan, self._summary, self._progress = plan, summary, progress
        self._console, self._quiet = console, quiet
        self._nobody_reads = False
        self.done = 0

    def record(self, written: Written) -> None:
        """Adds a picture to the summary."""
        if written.entry is not None:
            self.done += 1
            self._summary.add(written.entry)
        else:
            while_writing = written.outcome.error is None
            self._summary.add_failure(
                self._plan.failure(written.outcome, _failure(written), while_writing=while_writing)
            )
        self._summary.write_now_and_then()

    def show(self, written: Written) -> None:
        """Prints a picture's table, or why it failed."""
        self._progress.advance()
        if written.entry is None:
            say(f"error: {_failure(written)}")
        elif not self._quiet:
            self.print(format_table(written.entry))

    def print(self, text: str) -> None:
        """Prints text on standard output. If nobody reads that any more, goes on without."""
        if self._nobody_reads:
            return
        try:
            self._console.print(printable(text, self._console.encoding))
        except BrokenPipeError:
            self._nobody_reads = True
            drop_output()
            say("nobody reads standard output any more; the work goes on without tables")


def _failure(written: Written) -> str:
    """Returns why a picture failed, with its name."""
    assert written.error is not None, "without an entry there is an error"
    text, source = explain(written.error), shown(str(written.outcome.task.path), lines=True)
    assert text is not None, "other errors are bugs, and end the command"
    return text if source in text else f"{source}: {text}"
