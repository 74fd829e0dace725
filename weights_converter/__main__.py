"""python -m weights_converter SRC DST: converts a checkpoint, by the suffixes of the two names."""

import argparse
import sys

from weights_converter.engine import describe
from weights_converter.errors import CheckpointError
from weights_converter.model_file import convert_file


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m weights_converter", description=__doc__)
    parser.add_argument("source", metavar="SRC", help="a .pth, .pt or .safetensors checkpoint")
    parser.add_argument("target", metavar="DST", help="the file to write: .safetensors, .pth or .pt")
    options = parser.parse_args(arguments)
    try:
        conversion = convert_file(options.source, options.target)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.target}: {describe(conversion.architecture)}, {len(conversion.params)} arrays")
    for name, why in conversion.dropped.items():
        print(f"  dropped {name}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
