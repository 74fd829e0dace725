"""fcn-jax train: trains a model on a dataset; can stop at any moment and resumes exactly.

    fcn-jax train --data-dir photos --output runs/photos       # a folder with images/ and labels/
    fcn-jax train --dataset camvid --data-dir CamVid --output runs/camvid --steps 4000
    fcn-jax train --recipe torchvision --data-dir coco --weights-backbone DEFAULT --output runs/coco
    fcn-jax train --recipe paper --data-dir sbd --weights-backbone VGG_ILSVRC_16_layers.caffemodel

The settings below come from a recipe (small-data, if not named) and from the command line. The command uses
all GPUs or TPU cores of the machine. On several hosts, each host runs the same command with --distributed,
and all share the output folder.

The output folder gets config.json, metrics.jsonl, curves.png, a sheet of validation pictures for each
evaluation, best.safetensors and last.safetensors (for `fcn-jax segment --weights`), and checkpoints/. After a
power cut, `kill -9`, Ctrl-C or SIGTERM, the same command resumes the run. On the same machine with as many
devices, the weights then equal those of an uninterrupted run, bit for bit.

Exit status: 0 done; 1 an error, such as a loss that is not finite (standard error has the message); 2 the
command line is wrong; 130 or 143 stopped by Ctrl-C or SIGTERM, and saved.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from fcn_jax.cli.messages import NAMES, library_messages_shown
from fcn_jax.cli.orbax_noise import orbax_hushed
from fcn_jax.errors import FCNError

if TYPE_CHECKING:
    from fcn_jax.training import Config, Run

SECONDS_BETWEEN_LINES = 10


def run_arguments(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    return _run(train, arguments, "fcn-jax train", __doc__ or "")


def train(config: "Config") -> int:
    """Trains; returns the exit status."""
    from fcn_jax.training import Run

    run = Run(config)
    with steps_shown(run):
        return run.train()


def as_program(function: Callable[["Config"], int], program: str, description: str | None) -> int:
    """Runs a script that trains, with the command line of `fcn-jax train`; returns its exit status.

    Args:
      function: trains; returns the exit status.
      program: the name of the script.
      description: for `--help`.
    """
    with library_messages_shown():
        return _run(function, sys.argv[1:], program, description or "")


def _run(
    function: Callable[["Config"], int], arguments: Sequence[str], program: str, description: str
) -> int:
    """Parses the command line and trains; prints an error that a user can fix as one line."""
    names = NAMES
    try:
        with ctrl_c_ends_at_once(), closed_pipes_ignored(), orbax_hushed():
            from fcn_jax.cli.computing import keep_compiled
            from fcn_jax.training.command_line import OPTIONS, parse_config

            names = NAMES | OPTIONS
            config = parse_config(arguments, program=program, description=description)
            keep_compiled()
            return function(config)
    except FCNError as error:
        print(f"{program}: error: {error.words(names)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: interrupted; the last checkpoint remains", file=sys.stderr)
        return 130


@contextlib.contextmanager
def ctrl_c_ends_at_once() -> Iterator[None]:
    """Lets Ctrl-C end the process with status 130 in the block, before a run has anything to save.

    A KeyboardInterrupt would be lost if it came during a callback, as JAX's imports run some.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        os.write(2, b"interrupted\n")
        os._exit(128 + number)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Unbreakable:
    """A stream that drops its output once nobody reads it: a training outlives its `| head`."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


@contextlib.contextmanager
def closed_pipes_ignored() -> Iterator[None]:
    """Drops output in the block once nobody reads standard output or standard error."""
    out, err = (cast(TextIO, _Unbreakable(stream)) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()


@contextlib.contextmanager
def quiet_run() -> Iterator[None]:
    """Hides the log messages of runs in the block, except warnings."""
    logger = logging.getLogger("fcn_jax.training")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with orbax_hushed():
            yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def steps_shown(run: "Run") -> Iterator[None]:
    """Shows the steps of a run on standard error: a bar on a terminal, elsewhere a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fcn_jax.cli.progress import plain_console

    console = plain_console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=None, facts="")
        last_line = time.monotonic()

        def show(done: int, total: int) -> None:
            nonlocal last_line
            text = "loss {loss:.4g}, lr {lr:.3g}, {images_per_second:.3g} images/s"
            facts = text.format_map(run.record) if run.record else ""
            bar.update(task, completed=done, total=total, facts=facts)
            now = time.monotonic()
            if not console.is_terminal and facts and now - last_line > SECONDS_BETWEEN_LINES:
                last_line = now
                print(f"step {done} of {total}: {facts}", file=sys.stderr)

        before, run.on_progress = run.on_progress, show
        try:
            yield
        finally:
            run.on_progress = before
