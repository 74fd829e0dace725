"""Writes an ONNX model to disk, whole or not at all; above 2 GB the weights go to a second file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx import external_data_helper

from weights_converter.files import replacing

ONE_FILE = 2**31 - 2**24
"""Largest weights, in bytes, of a file that holds them itself: a protobuf message ends at 2 GiB."""
SMALL = 1024
"""Tensors up to so many bytes stay in the graph."""


def save(model: onnx.ModelProto, path: str | os.PathLike, check: Callable[[Path], None]) -> None:
    """Writes a model; if its weights exceed `ONE_FILE`, they go to <path>.data beside it.

    Args:
      model: changed if the weights go to a second file.
      path: the file to write.
      check: called with a path of the written model before it gets its name; what it raises is passed on,
        and nothing is written.

    Raises:
      OSError: a file cannot be written.
    """
    path = Path(path)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= ONE_FILE:
        with replacing(path) as temporary:
            temporary.write_bytes(model.SerializeToString())
            check(temporary)
        return
    weights = path.with_name(f"{path.name}.data")
    with replacing(path) as temporary, replacing(weights) as temporary_weights:
        with temporary_weights.open("wb") as file:
            _move_weights(model, file)
        _name_weights(model, temporary_weights.name)
        temporary.write_bytes(model.SerializeToString())
        check(temporary)
        _name_weights(model, weights.name)
        temporary.write_bytes(model.SerializeToString())


def _move_weights(model: onnx.ModelProto, file: BinaryIO) -> None:
    """Moves all but small tensors from a model to a file."""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > SMALL:
            file.write(b"\0" * (-file.tell() % 4096))  # so that runtimes can map the file
            external_data_helper.set_external_data(
                tensor, "", offset=file.tell(), length=len(tensor.raw_data)
            )
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")


def _name_weights(model: onnx.ModelProto, name: str) -> None:
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name
