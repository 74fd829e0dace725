"""The pickle inside torch.save's files, written opcode by opcode (protocol 2)."""

import struct
from collections.abc import Mapping

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.storages import STORAGE_DTYPES

# The first name of each dtype: the quantized storages after it share its dtype.
STORAGES = {dtype: name for name, dtype in reversed(STORAGE_DTYPES.items()) if dtype is not None}

BEGIN, STOP = b"\x80\x02", b"."
MARK, TUPLE, EMPTY_TUPLE = b"(", b"t", b")"
SETITEMS = b"u"
REDUCE, BINPERSID = b"R", b"Q"
FALSE = b"\x89"


def pickled(value: bytes) -> bytes:
    """Makes a whole pickle from one value of the functions below."""
    return BEGIN + value + STOP


def state_dict(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Makes the value OrderedDict(name: tensor), over storages "0", "1", ... in order.

    Args:
      tensors: {name: array}; written as contiguous.

    Raises:
      CheckpointError: PyTorch has no storage for an array's dtype.
    """
    parts = [_ordered_dict(), MARK]
    for key, (name, array) in enumerate(tensors.items()):
        if array.dtype not in STORAGES:
            raise CheckpointError(f"tensor {name!r} has dtype {array.dtype}, which PyTorch cannot store")
        storage = [
            _text("storage"),
            _global(STORAGES[array.dtype]),
            _text(str(key)),
            _text("cpu"),
            _integer(array.size),
        ]
        parts += [
            _text(name),
            _global("torch._utils._rebuild_tensor_v2"),
            _tuple(
                _tuple(*storage) + BINPERSID,
                _integer(0),
                _tuple(*map(_integer, array.shape)),
                _tuple(*map(_integer, _contiguous_strides(array.shape))),
                FALSE,
                _ordered_dict(),
            ),
            REDUCE,
        ]
    return b"".join([*parts, SETITEMS])


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _tuple(*items: bytes) -> bytes:
    return MARK + b"".join(items) + TUPLE if items else EMPTY_TUPLE


def _global(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def _ordered_dict() -> bytes:
    return _global("collections.OrderedDict") + EMPTY_TUPLE + REDUCE


def _contiguous_strides(shape: tuple[int, ...]) -> list[int]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return strides[::-1]
