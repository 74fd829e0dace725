"""python -m weights_converter SRC DST: converts a checkpoint; the suffix of DST names the format."""

import argparse
import sys

from weights_converter.errors import FCNError
from weights_converter.model_file import convert_file
from weights_converter.tables.family import PRESETS

NAMES = {
    'aux="drop"': "--aux drop",
    "align_corners": "--align-corners",
    "key": "--key",
    "model_name": "--model",
    "preset": "--preset",
    "strict=False": "--not-strict",
}
"""{argument: option of the command line}, for hints."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m weights_converter", description=__doc__)
    parser.add_argument("source", metavar="SRC", help="a .pth, .pt, .safetensors or .caffemodel file")
    parser.add_argument("target", metavar="DST", help="the file to write: .safetensors, .pth or .pt")
    parser.add_argument("--model", help="the network, where the file does not say which: fcn8s_atonce_vgg16")
    parser.add_argument("--preset", choices=PRESETS, help="the images that the weights expect")
    parser.add_argument(
        "--align-corners",
        choices=("true", "false"),
        help="how logits are upsampled, where mmsegmentation's file does not say it",
    )
    parser.add_argument("--key", help="where the network is, if the file holds several: model_ema")
    parser.add_argument("--not-strict", action="store_true", help="leave out tensors that have no place")
    parser.add_argument(
        "--aux", choices=("require", "drop"), default="require", help="drop the auxiliary head"
    )
    options = parser.parse_args(arguments)
    try:
        conversion = convert_file(
            options.source,
            options.target,
            model_name=options.model,
            preset=options.preset,
            key=options.key,
            strict=not options.not_strict,
            aux=options.aux,
            align_corners=None if options.align_corners is None else options.align_corners == "true",
        )
    except (FCNError, OSError) as error:
        words = error.words(NAMES) if isinstance(error, FCNError) else error
        print(f"error: {words}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"{options.target}: {conversion.spec}, {len(conversion.params)} arrays")
    remark = conversion.remark()
    if remark is not None:
        print(f"  {remark}")
    for name, why in conversion.dropped.items():
        print(f"  dropped {name}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
