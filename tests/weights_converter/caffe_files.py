"""Caffe models put together field by field, in every encoding that a reader may meet."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field * 8) + varint(value)


def chunk(field: int, data: bytes | str) -> bytes:
    """A field of a length and that many bytes: a text, a message or packed numbers."""
    data = data.encode() if isinstance(data, str) else bytes(data)
    return varint(field * 8 + 2) + varint(len(data)) + data


def packed(field: int, array: np.ndarray, dtype: str = "<f4") -> bytes:
    return chunk(field, np.ascontiguousarray(array, dtype).tobytes())


def unpacked(field: int, array: np.ndarray, dtype: str = "<f4") -> bytes:
    key = varint(field * 8 + (5 if dtype == "<f4" else 1))
    data = np.ascontiguousarray(array, dtype).reshape(-1)
    return b"".join(key + value.tobytes() for value in data)


def shape(dims: Iterable[int], pack: bool = True) -> bytes:
    """The field `shape` of a blob."""
    dims = list(dims)
    inner = chunk(1, b"".join(map(varint, dims))) if pack else b"".join(number(1, dim) for dim in dims)
    return chunk(7, inner)


def legacy_shape(dims: Iterable[int]) -> bytes:
    """The four axes of before 2015; fewer dimensions are filled with 1 from the left."""
    dims = list(dims)
    return b"".join(number(axis, dim) for axis, dim in enumerate([1] * (4 - len(dims)) + dims, 1))


# {encoding: the bytes of a blob that holds an array}
BLOBS = {
    "packed": lambda a: shape(a.shape) + packed(5, a),
    "unpacked": lambda a: unpacked(5, a) + shape(a.shape, pack=False),
    "double": lambda a: packed(8, a, "<f8") + shape(a.shape),
    "double unpacked": lambda a: shape(a.shape) + unpacked(8, a, "<f8"),
    "legacy": lambda a: legacy_shape(a.shape) + packed(5, a),
    "with diff": lambda a: shape(a.shape) + packed(5, a) + packed(6, a + 1) + packed(9, a + 2, "<f8"),
    "two pieces": lambda a: packed(5, a.reshape(-1)[:1]) + unpacked(5, a.reshape(-1)[1:]) + shape(a.shape),
    "double wins": lambda a: packed(5, a + 1) + packed(8, a, "<f8") + shape(a.shape),
    "unknown fields": lambda a: (
        b"\xa5\x06\x00\x00\x00\xa5" + chunk(1000, b"later") + shape(a.shape) + number(40, 3) + packed(5, a)
    ),
}


def layer(name: str, blobs: Iterable[bytes] = (), kind: str = "Convolution") -> bytes:
    fields = chunk(1, name) + chunk(2, kind) + chunk(3, "data") + chunk(4, name) + number(10, 1)
    return chunk(100, fields + b"".join(chunk(7, blob) for blob in blobs) + chunk(106, number(1, 64)))


def layer_v1(name: str, blobs: Iterable[bytes] = (), kind: int = 4) -> bytes:
    fields = chunk(2, "data") + chunk(3, name) + chunk(4, name) + number(5, kind)
    rates = struct.pack("<Bf", 7 * 8 + 5, 1.0) + struct.pack("<Bf", 7 * 8 + 5, 2.0)
    return chunk(2, fields + b"".join(chunk(6, blob) for blob in blobs) + rates)


def layer_v0(name: str, blobs: Iterable[bytes] = (), kind: str = "conv") -> bytes:
    inner = chunk(1, name) + chunk(2, kind) + b"".join(chunk(50, blob) for blob in blobs)
    return chunk(2, chunk(1, inner) + chunk(2, "data") + chunk(3, name))


LAYERS = {"layer": layer, "layers": layer_v1, "nested": layer_v0}


def net(*layers: bytes) -> bytes:
    """A NetParameter: a name, inputs, a state, and the layers."""
    return chunk(1, "FCN") + chunk(3, "data") + number(4, 1) + number(5, 1) + chunk(6, b"") + b"".join(layers)


def caffemodel(
    path: Path, tensors: dict[str, np.ndarray], form: str = "layer", encoding: str = "packed"
) -> Path:
    """Writes {"conv1_1.weight": array, "conv1_1.bias": array, ...}, with layers without blobs in between."""
    blobs: dict[str, list[bytes]] = {}
    for name, array in tensors.items():
        blobs.setdefault(name.rpartition(".")[0], []).append(BLOBS[encoding](array))
    layers = [LAYERS[form]("data")]
    for name, found in blobs.items():
        layers += [LAYERS[form](name, found), LAYERS[form](f"relu_{name}")]
    path.write_bytes(net(*layers))
    return path
