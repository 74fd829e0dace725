"""fcn-jax export: writes a model as one file: .zip runs with JAX alone, .onnx in ONNX Runtime and others.

fcn-jax export fcn_resnet50.zip --weights fcn_resnet50.pth --size 520x520    # runs with JAX alone
fcn-jax export fcn_resnet50.onnx --weights fcn_resnet50.pth --verify         # for ONNX Runtime and others

A .zip takes images of any size up to one, and needs `pip install 'fcn_jax[export]'`. An .onnx takes images of
any size, and needs `pip install 'fcn_jax[onnx]'`; with --int8 it computes in 8 bits.
"""

import argparse
import time
from pathlib import Path

from fcn_jax.backend import start_backend
from fcn_jax.cli.export_onnx import add_onnx_arguments, run_onnx
from fcn_jax.cli.weights import add_weights_arguments, load_chosen
from fcn_jax.errors import SettingError
from fcn_jax.inference.export import check_platforms, save_exported

ONLY_FOR = {
    ".zip": ("size", "platforms"),
    ".onnx": ("input", "aux", "verify", "int8", "calibrate"),
}
"""Endings of files that can be written, with the options that no other kind has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("output", metavar="FILE", help="the file to write: model.zip or model.onnx")
    add_weights_arguments(parser)
    parser.add_argument(
        "--kind",
        default="labels",
        choices=("labels", "probabilities", "logits"),
        help="what the exported function returns (labels)",
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help=".zip: height and width of the largest images (520x520); smaller ones take as long as these",
    )
    parser.add_argument(
        "--platforms",
        metavar="A,B",
        help=".zip: the platforms to run on: some of cpu, cuda, rocm, tpu; by default that of this machine",
    )
    add_onnx_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Writes the file, and prints its contents in a line."""
    ending = check_ending(options)
    return run_onnx(options) if ending == ".onnx" else _run_zip(options)


def check_ending(options: argparse.Namespace) -> str:
    """Returns the ending of the file's name, in lower case.

    Raises:
      SettingError: it is unknown, or an option belongs to another one.
    """
    ending = Path(options.output).suffix.lower()
    if ending not in ONLY_FOR:
        raise SettingError(
            subject=options.output,
            expected="a name that ends in .zip (a program for JAX) or .onnx",
            got=repr(ending) if ending else "a name without ending",
        )
    for other, names in ONLY_FOR.items():
        for name in names:
            if other != ending and getattr(options, name):
                raise SettingError(f"is for files that end in {other}", subject=f"--{name}")
    return ending


def _run_zip(options: argparse.Namespace) -> int:
    size = options.size or "520x520"
    height, separator, width = size.partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise SettingError(
            subject="--size", expected="a height and a width, such as 520x520", got=repr(options.size)
        )
    start_backend()
    platforms = [platform.strip() for platform in (options.platforms or "").split(",") if platform.strip()]
    platforms = check_platforms(platforms)
    begin = time.perf_counter()
    model, _ = load_chosen(options)
    save_exported(
        model, options.output, size=(int(height), int(width)), output=options.kind, platforms=platforms
    )
    path = Path(options.output)
    print(
        f"{path}: {model.spec.name}, {options.kind} of images up to {height} x {width} (height x width), "
        f"{path.stat().st_size / 2**20:.0f} MiB, {time.perf_counter() - begin:.1f} s"
    )
    return 0
