"""Static quantization by ONNX Runtime: ranges from prepared pictures, weights by output channel."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from fcn_jax.images import Picture, open_image
from fcn_jax.onnx_export.ends import IMAGES, Input
from fcn_jax.transforms import Preset

OPERATORS = ("Conv", "Relu", "MaxPool", "Add", "Concat")
"""Operators that are computed in 8 bits; all others stay float32."""
PREPROCESSED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Tells the quantizer that batch norms are folded already; without it, it warns."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Prepares a picture as a batch of one for a file.

    Attributes:
      transforms: the model's preset.
      input: of the file.
    """

    transforms: Preset
    input: Input

    def __call__(self, picture: Picture) -> np.ndarray:
        """Returns (1, H, W, C): normalized float32, or resized uint8.

        Raises:
          ImageError: the picture cannot be read.
        """
        if self.input == "normalized":
            return self.transforms(picture)[None]
        image = open_image(picture)
        size = self.transforms.output_size((image.height, image.width))
        return np.asarray(self.transforms.resize(image, size))[None]


class _Reader(CalibrationDataReader):
    """Feeds pictures to the quantizer, one by one."""

    def __init__(self, batches: Iterator[np.ndarray]):
        self._batches = batches

    def get_next(self) -> Any:
        batch = next(self._batches, None)
        return None if batch is None else {IMAGES: batch}


def quantize(
    source: Path, path: Path, prepared: Prepared, pictures: Sequence[Picture], *, leave: tuple[str, ...]
) -> None:
    """Quantizes an ONNX file.

    Args:
      source: the float32 file, in a folder that may be written to.
      path: the file to write.
      prepared: prepares pictures for the file.
      pictures: the ranges of activations are taken from them.
      leave: operators whose names begin so stay float32.
    """
    model = onnx.load(source, load_external_data=False)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    excluded = [node.name for node in model.graph.node if node.name.startswith(leave)]
    marked = source.with_name("marked.onnx")
    onnx.helper.set_model_props(model, PREPROCESSED | metadata)
    marked.write_bytes(model.SerializeToString())
    quantized = source.with_name("int8.onnx")
    quantize_static(
        os.fspath(marked),
        os.fspath(quantized),
        _Reader(map(prepared, pictures)),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(OPERATORS),
        per_channel=True,
        reduce_range=True,  # without VNNI a CPU would add up full 8-bit products in too few bits, silently
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=excluded,
    )
    model = onnx.load(quantized)
    onnx.helper.set_model_props(model, metadata | {"quantized": "int8"})
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(os.fspath(path), full_check=True)
