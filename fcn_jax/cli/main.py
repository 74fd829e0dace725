"""The command `fcn-jax`: its subcommands, and how errors end it.

Exit status: 0 all done; 1 something failed, said on standard error in words, without a traceback; 2 the
command line itself is wrong; 130 interrupted.
"""

import argparse
import sys

from fcn_jax.cli import convert, demo, evaluate, export, models, segment
from fcn_jax.cli.messages import EXPECTED, in_words

COMMANDS = {
    "segment": segment,
    "evaluate": evaluate,
    "convert": convert,
    "export": export,
    "models": models,
    "demo": demo,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        return COMMANDS[options.command].run(options)
    except EXPECTED as error:
        print(f"fcn-jax: error: {in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fcn-jax: interrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Declares the whole command line."""
    parser = argparse.ArgumentParser(
        prog="fcn-jax", description="Semantic segmentation with fully convolutional networks, in JAX."
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = command.__doc__.partition(": ")[2].partition("\n")[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
    return parser
