"""The door to 8-bit files: quantizes the written graph on pictures, and compares it with the float graph."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flax import nnx

from fcn_jax.errors import SettingError
from fcn_jax.images import Picture
from fcn_jax.inference.prepare import Output
from fcn_jax.onnx_export.errors import require
from fcn_jax.onnx_export.export import check_settings, export_onnx
from weights_converter.files import replacing

if TYPE_CHECKING:
    from fcn_jax.onnx_export.ends import Input
    from fcn_jax.onnx_export.measuring import Comparison
    from fcn_jax.onnx_export.verification import Verification

CALIBRATING = 64
"""Most pictures that the ranges are taken from."""
COMPARING = 8
"""Pictures on which the two files are compared, if there are enough: not those of the calibration."""
FEW = 4
"""With fewer pictures, all of them serve for both."""


class Int8Report(NamedTuple):
    """What `export_int8_onnx` found.

    Attributes:
      calibrated: number of pictures that the ranges come from.
      compared: number of pictures on which the two files were compared.
      seen: whether those were pictures of the calibration too, because there were no others.
      comparison: sizes, times and labels of the two files.
      verification: of the float graph, if it was asked for.
    """

    calibrated: int
    compared: int
    seen: bool
    comparison: "Comparison"
    verification: "Verification | None"


def export_int8_onnx(
    model: nnx.Module,
    path: str | os.PathLike,
    pictures: Sequence[Picture],
    *,
    input: "Input" = "normalized",
    output: Output = "labels",
    aux: bool = False,
    verify: bool = False,
) -> Int8Report:
    """Writes a model as an ONNX file that computes its convolutions in 8 bits.

    ONNX Runtime's own static quantizer does it. Weights are int8 of 7 bits, with a scale for each output
    channel; 8 bits could overflow on CPUs without VNNI. Activations are uint8, with ranges calibrated on
    pictures. The form is QuantizeLinear and DequantizeLinear (QDQ). Score layers and upsamplings stay float.

    The pictures should be like those that the file will see. Up to `CALIBRATING` of them, evenly spread,
    calibrate; up to `COMPARING` others compare the file with the float one.

    Args:
      model, path, input, output, aux, verify: see `export_onnx`; `verify` checks the graph before it is
        quantized.
      pictures: at least one; prepared by the model's transforms.

    Raises:
      SettingError: there are no pictures, or the model has no transforms; or see `export_onnx`.
      ImageError: a picture cannot be read.
      OnnxError, ArrayError, WrongTypeError, MissingPackageError, OSError: see `export_onnx`.
    """
    require("onnx", "onnxruntime")
    network = check_settings(model, input=input, output=output, aux=aux)
    if not pictures:
        raise SettingError(subject="pictures", expected="pictures to calibrate on", got="none")
    if network.transforms is None:
        raise SettingError(
            subject="model",
            expected="transforms, to prepare the pictures for calibration",
            got="a model without",
            hint="set them by model.update_meta(transforms=...)",
        )
    from fcn_jax.onnx_export.measuring import compare_files
    from fcn_jax.onnx_export.quantization import Prepared, quantize

    calibrating, comparing = share_out(pictures)
    prepared = Prepared(network.transforms, input)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "float32.onnx"
        verification = export_onnx(model, whole, input=input, output=output, aux=aux, verify=verify)
        with replacing(path) as temporary:
            quantize(whole, temporary, prepared, calibrating, leave=network.class_layers)
            comparison = compare_files(whole, temporary, map(prepared, comparing), output, network.threshold)
    seen = len(pictures) < FEW
    return Int8Report(len(calibrating), len(comparing), seen, comparison, verification)


def share_out(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Picture]]:
    """Chooses pictures for calibration and others for comparison, both evenly spread.

    Fewer than `FEW` pictures serve for both.
    """
    if len(pictures) < FEW:
        return list(pictures), list(pictures)
    compared = set(_spread(len(pictures), min(COMPARING, len(pictures) // FEW)))
    rest = [place for place in range(len(pictures)) if place not in compared]
    calibrating = [rest[place] for place in _spread(len(rest), min(CALIBRATING, len(rest)))]
    return [pictures[place] for place in calibrating], [pictures[place] for place in sorted(compared)]


def _spread(count: int, some: int) -> list[int]:
    """Returns `some` of the numbers below `count`, each in the middle of its share."""
    return [(2 * place + 1) * count // (2 * some) for place in range(some)]
