"""fcn-jax export model.onnx: the options of ONNX files, and what is printed of them."""

import argparse
import time
from pathlib import Path

from fcn_jax.backend import start_backend
from fcn_jax.cli.segmenting.pictures import find_pictures
from fcn_jax.cli.weights import load_chosen
from fcn_jax.errors import SettingError
from fcn_jax.onnx_export import export_int8_onnx, export_onnx
from fcn_jax.onnx_export.errors import require


def add_onnx_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options that only ONNX files have."""
    parser.add_argument(
        "--input",
        choices=("normalized", "uint8"),
        help=".onnx: normalized float32 images (the default), or uint8 RGB: then the graph normalizes",
    )
    parser.add_argument("--aux", action="store_true", help=".onnx: return the auxiliary head's too")
    parser.add_argument(
        "--verify",
        action="store_true",
        help=".onnx: run the file in ONNX Runtime, compare it with the model, and print the error",
    )
    parser.add_argument(
        "--int8", action="store_true", help=".onnx: compute in 8 bits; needs --calibrate and onnxruntime"
    )
    parser.add_argument(
        "--calibrate", metavar="DIR", help=".onnx: pictures like those that the int8 file will see"
    )


def run_onnx(options: argparse.Namespace) -> int:
    """Writes the file, and prints its contents and what was measured, a line each."""
    if options.int8 != bool(options.calibrate):
        raise SettingError(
            subject="--int8" if options.int8 else "--calibrate",
            expected="--int8 and --calibrate DIR together, because the ranges come from pictures",
            got="one of them",
        )
    if options.dtype != "float32":
        raise SettingError(
            subject="--dtype", expected="float32, in which ONNX files compute", got=options.dtype
        )
    require("onnx", *(["onnxruntime"] if options.verify or options.int8 else []))
    pictures = [found.path for found in find_pictures([options.calibrate])] if options.int8 else []
    start_backend()
    begin = time.perf_counter()
    model, _ = load_chosen(options)
    settings = {"output": options.kind, "aux": options.aux, "verify": options.verify}
    settings |= {"input": options.input or "normalized"}
    if options.int8:
        report = export_int8_onnx(model, options.output, pictures, **settings)
        verification = report.verification
    else:
        report, verification = None, export_onnx(model, options.output, **settings)
    from fcn_jax.onnx_export.graph import OPSET

    path = Path(options.output)
    print(
        f"{path}: {model.spec.name}, {options.kind} of {settings['input']} images of any size, "
        f"{'int8, ' if report else ''}ONNX opset {OPSET}, {path.stat().st_size / 2**20:.1f} MiB, "
        f"{time.perf_counter() - begin:.1f} s"
    )
    if verification is not None:
        print(f"verified with {verification}")
    if report is not None:
        also = ", which calibrated it too" if report.seen else ""
        print(f"calibrated on {report.calibrated} pictures; on {report.compared}{also}: {report.comparison}")
    return 0
