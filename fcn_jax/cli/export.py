"""fcn-jax export: writes a model as one file that runs with JAX alone, for images of any size up to one.

fcn-jax export fcn_resnet50.zip --weights fcn_resnet50.pth --size 520x520

Needs `pip install 'fcn_jax[export]'`.
"""

import argparse
import time
from pathlib import Path

from fcn_jax.backend import start_backend
from fcn_jax.cli.weights import add_weights_arguments, load_chosen
from fcn_jax.errors import SettingError
from fcn_jax.inference.export import check_platforms, save_exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("output", metavar="FILE", help="the file to write, such as model.zip")
    add_weights_arguments(parser)
    parser.add_argument(
        "--size",
        default="520x520",
        metavar="HxW",
        help="height and width of the largest images (520x520); smaller ones take as long as these",
    )
    parser.add_argument(
        "--kind",
        default="labels",
        choices=("labels", "probabilities", "logits"),
        help="what the exported function returns (labels)",
    )
    parser.add_argument(
        "--platforms",
        default="",
        metavar="A,B",
        help="the platforms to run on: some of cpu, cuda, rocm and tpu; by default that of this machine",
    )


def run(options: argparse.Namespace) -> int:
    """Writes the file, and prints its contents in a line."""
    height, separator, width = options.size.partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise SettingError(
            subject="--size", expected="a height and a width, such as 520x520", got=repr(options.size)
        )
    start_backend()
    platforms = [platform.strip() for platform in options.platforms.split(",") if platform.strip()]
    platforms = check_platforms(platforms)
    begin = time.perf_counter()
    model, _ = load_chosen(options)
    size = int(height), int(width)
    save_exported(model, options.output, size=size, output=options.kind, platforms=platforms)
    path = Path(options.output)
    print(
        f"{path}: {model.spec.name}, {options.kind} of images up to {height} x {width} (height x width), "
        f"{path.stat().st_size / 2**20:.0f} MiB, {time.perf_counter() - begin:.1f} s"
    )
    return 0
