"""The command `fcn-jax`: its subcommands, and what it prints after an error.

Exit status: 0 all done; 1 something failed, explained on standard error; 2 wrong command line; 130
interrupted; 141 nobody reads the output any more; 143 ended by SIGTERM. A traceback means a bug of ours.
"""

import argparse
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

from fcn_jax.cli.messages import drop_output, explain, library_messages_shown, say
from fcn_jax.cli.segmenting.signals import Terminated


class Command(NamedTuple):
    """A subcommand.

    Attributes:
      module: imported when the command runs. It has `add_arguments(parser)` and `run(options)`; or, if it
        parses its arguments itself, `run_arguments(arguments)`. Both run functions return the exit status.
      summary: what it does, in one line.
      parses: whether it parses its arguments itself.
    """

    module: str
    summary: str
    parses: bool = False

    def load(self) -> ModuleType:
        """Imports the module."""
        return importlib.import_module(self.module)


COMMANDS = {
    "segment": Command(
        "fcn_jax.cli.segment", "finds what is where in pictures; writes label images, overlays and heat maps"
    ),
    "evaluate": Command("fcn_jax.cli.evaluate", "scores weights on a dataset, class by class"),
    "check": Command(
        "fcn_jax.cli.check", "lists everything that is wrong with a dataset, before the first step"
    ),
    "statistics": Command(
        "fcn_jax.cli.statistics", "measures the mean and the deviation of each channel over a training set"
    ),
    "train": Command("fcn_jax.cli.train", "trains a model on a dataset", parses=True),
    "convert": Command(
        "fcn_jax.cli.convert",
        "converts a checkpoint to our format (.safetensors), or back to PyTorch's (.pth)",
    ),
    "push": Command("fcn_jax.cli.push", "puts weights on the Hugging Face Hub, with a model card"),
    "export": Command(
        "fcn_jax.cli.export",
        "writes a model as one file: .zip runs with JAX alone, .onnx in ONNX Runtime and others",
    ),
    "models": Command("fcn_jax.cli.models", "lists the models and their published weights"),
    "demo": Command("fcn_jax.cli.demo", "trains a small FCN-8s on drawn scenes and segments some, offline"),
}

A_BUG = "this is a bug in fcn_jax: please report it with your command and the text below"


def main(arguments: Sequence[str] | None = None, *, ready: Callable[[], object] = lambda: None) -> int:
    """Runs the command line; returns the exit status.

    Args:
      arguments: without the program's name; by default those of the process.
      ready: called once the command is imported, before it works.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    with library_messages_shown():
        return _explain_errors(lambda: _run(words, ready))


def _run(words: list[str], ready: Callable[[], object]) -> int:
    command = COMMANDS.get(words[0]) if words else None
    if command is not None and command.parses:
        module = command.load()
        ready()
        return module.run_arguments(words[1:])
    options = build_parser(words[:1]).parse_args(words)
    module = COMMANDS[options.command].load()
    ready()
    return module.run(options)


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Declares the command line.

    Args:
      commands: the subcommands to declare with arguments, which imports their modules; the others have only
        a name and a summary.
    """
    parser = argparse.ArgumentParser(
        prog="fcn-jax", description="Semantic segmentation with fully convolutional networks, in JAX."
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.summary, description=command.summary)
        if name in commands and not command.parses:
            command.load().add_arguments(subparser)
    return parser


def _explain_errors(run: Callable[[], int]) -> int:
    """Runs a command and returns the exit status; prints the reason if it fails."""
    try:
        status = run()
        try:
            sys.stdout.flush()  # here, so that a full disk is reported; at exit Python would not
        except OSError as error:
            error.filename = error.filename or "standard output"
            raise
        return status
    except Terminated:
        print("fcn-jax: ended by SIGTERM", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("fcn-jax: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and error.filename is None:
            drop_output()
            say("nobody reads standard output any more")
            return 141
        text = explain(error)
        if text is not None:
            say(f"error: {text}")
            return 1
        print(f"fcn-jax: {A_BUG}", file=sys.stderr)
        traceback.print_exception(error)
        return 1
