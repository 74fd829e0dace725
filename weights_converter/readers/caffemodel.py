"""Reads Caffe's `.caffemodel`, one protobuf message (NetParameter), without Caffe and without protobuf.

    NetParameter      100 layer, or 2 layers in files from before 2015
    layer (100)       1 name    7 blobs
    layers (2)        4 name    6 blobs    1 a layer of 2013 instead of both: 1 name, 50 blobs
    blob              5 data    8 double_data    7 shape (1 dim)    1, 2, 3, 4 the four axes before 2015

All else (the net's definition, gradients) is skipped. The format has no checksum: damage to names, lengths
and shapes is found here or later by the table, damage to the weights is not.

Source: `caffe.proto` of BVLC/caffe, and `Blob::FromProto` for blobs with two shapes or two kinds of data.
"""

import math
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.mapped_file import map_file, naming
from weights_converter.readers.pickle_values import shown
from weights_converter.readers.protobuf_wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    WIDTHS,
    Wire,
    read_key,
    read_varint,
    signed,
)


class Form(NamedTuple):
    """The field numbers in one of Caffe's three forms of a layer."""

    name: int
    blobs: int
    nested: int | None = None


LAYER_V0 = Form(name=1, blobs=50)
LAYERS = {100: Form(name=1, blobs=7), 2: Form(name=4, blobs=6, nested=1)}
DATA, SHAPE, DOUBLE_DATA, DIM = 5, 7, 8, 1
LEGACY_AXES = (1, 2, 3, 4)  # num, channels, height, width
NET_FIELDS = {
    1: LENGTH,
    3: LENGTH,
    4: None,
    5: VARINT,
    6: LENGTH,
    7: VARINT,
    8: LENGTH,
}  # not layers

LEAVES = ("weight", "bias")  # the names of a layer's blobs; further blobs are "2", "3", ...
MAX_BYTES = 2**31 - 1  # protobuf's own limit, and Caffe's
MAX_AXES = 32  # Caffe's kMaxBlobAxes
MAX_NAME = 1000  # bytes


def read_caffemodel(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the blobs of a Caffe model.

    Returns:
      Read-only arrays by name, such as "conv1_1.weight" and "conv1_1.bias", in the file's order: views of the
      mapped file, often unaligned. Shapes are the file's: before 2015 every blob had four axes, a bias
      (1, 1, 1, N). Hyphens in names ("score-pool4" in early files) become underscores.

    Raises:
      CheckpointError: the file cannot be read, is damaged, or holds no blobs.
    """
    mapped = memoryview(map_file(path))
    with naming(path):
        try:
            if len(mapped) > MAX_BYTES:
                raise CheckpointError(f"it has {len(mapped)} bytes, more than protobuf allows")
            return _tensors(Wire(), mapped)
        except CheckpointError as error:
            raise CheckpointError(f"looks like a Caffe model, but {error.reason}") from error


def begins_like_caffemodel(data: memoryview) -> bool:
    """Whether bytes begin like a NetParameter. It has no magic number, but a layer comes soon."""
    at = 0
    try:
        for _ in range(100):
            number, wire_type, at = read_key(data, at)
            if number in LAYERS and wire_type == LENGTH:
                return _begins_like_layer(data, at)
            if number not in NET_FIELDS or NET_FIELDS[number] not in (None, wire_type):
                return False
            value, at = read_varint(data, at)
            if wire_type == LENGTH:
                at += value
            elif wire_type != VARINT:
                return False
    except CheckpointError:
        pass
    return False


def _begins_like_layer(data: memoryview, at: int) -> bool:
    length, at = read_varint(data, at)
    _, wire_type, inside = read_key(data, at)
    if wire_type != LENGTH:
        return False
    size, inside = read_varint(data, inside)
    return inside + size <= at + length


def _tensors(wire: Wire, net: memoryview) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    forms = set()
    for number, wire_type, value in wire.fields(net):
        if number not in LAYERS or wire_type != LENGTH:
            continue
        forms.add(number)
        raw_name, blobs = _layer(wire, value, LAYERS[number])
        if not blobs:
            continue
        layer = _text(raw_name).replace("-", "_")
        for index, blob in enumerate(blobs):
            name = f"{layer}.{LEAVES[index] if index < len(LEAVES) else index}"
            if name in tensors:
                raise CheckpointError(f"it has two layers named {shown(layer)}")
            tensors[name] = _array(wire, blob, name)
    if len(forms) > 1:
        raise CheckpointError("it lists its layers in two forms; Caffe would ignore one of them")
    if not tensors:
        raise CheckpointError("none of its layers has blobs, so it holds no weights")
    return tensors


def _layer(wire: Wire, data: memoryview, form: Form) -> tuple[memoryview, list[memoryview]]:
    """Finds a layer's name and its unparsed blobs."""
    name, blobs, nested = memoryview(b""), [], []
    for number, wire_type, value in wire.fields(data):
        if wire_type != LENGTH:
            continue
        if number == form.name:
            name = value
        elif number == form.blobs:
            blobs.append(value)
        elif number == form.nested:
            inner, found = _layer(wire, value, LAYER_V0)
            name, nested = inner or name, nested + found
    if blobs and nested:
        raise CheckpointError("one of its layers has blobs in two forms; Caffe would ignore one of them")
    return name, blobs or nested


def _text(name: memoryview) -> str:
    if not 0 < len(name) <= MAX_NAME:
        raise CheckpointError(f"a layer with blobs has a name of {len(name)} bytes")
    try:
        return bytes(name).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError("a layer's name is not text") from error


def _array(wire: Wire, blob: memoryview, name: str) -> np.ndarray:
    legacy: dict[int, int] = {}
    axes: list[int] = []
    floats: list[np.ndarray] = []
    doubles: list[np.ndarray] = []
    for number, wire_type, value in wire.fields(blob):
        if number in LEGACY_AXES and wire_type == VARINT:
            legacy[number] = signed(value)
        elif number == SHAPE and wire_type == LENGTH:
            for dim in _dims(wire, value):
                axes.append(dim)
                if len(axes) > MAX_AXES:
                    raise CheckpointError(f"its blob {shown(name)} has more than {MAX_AXES} axes")
        elif number == DATA and wire_type in (LENGTH, FIXED32):
            floats.append(_numbers(value, FIXED32, name))
        elif number == DOUBLE_DATA and wire_type in (LENGTH, FIXED64):
            doubles.append(_numbers(value, FIXED64, name))
    shape = tuple(legacy.get(axis, 0) for axis in LEGACY_AXES) if legacy else tuple(axes)
    pieces = [piece for piece in doubles if piece.size] or [piece for piece in floats if piece.size]
    size = sum(piece.size for piece in pieces)
    if not pieces or min(shape, default=1) < 1 or math.prod(shape) != size:
        raise CheckpointError(
            f"it is damaged: its blob {shown(name)} has the shape {_shown_shape(shape)} and {size} values"
        )
    array = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    array = array.astype(array.dtype.newbyteorder("="), copy=False).reshape(shape)
    array.flags.writeable = False
    return array


def _dims(wire: Wire, shape: memoryview) -> Iterator[int]:
    for number, wire_type, value in wire.fields(shape):
        if number == DIM and wire_type == VARINT:
            yield signed(value)
        elif number == DIM and wire_type == LENGTH:
            at = 0
            while at < len(value):
                dim, at = read_varint(value, at)
                yield signed(dim)


def _numbers(value: memoryview | np.ndarray, wire_type: int, name: str) -> np.ndarray:
    """Reads floats in either encoding: packed as bytes, or a run of fields, each with its own key."""
    width = WIDTHS[wire_type]
    if isinstance(value, np.ndarray):
        return value.view(f"<f{width}")
    if len(value) % width:
        raise CheckpointError(
            f"it is damaged: its blob {shown(name)} has {len(value)} bytes, not a multiple of {width}"
        )
    return np.frombuffer(value, f"<f{width}")


def _shown_shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(shown, shape))})"
