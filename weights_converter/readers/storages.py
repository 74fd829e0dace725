"""Makes NumPy arrays over the bytes of PyTorch's storages, and checks their bounds."""

import os
import sys
from collections.abc import Mapping
from typing import TypeGuard

import ml_dtypes
import numpy as np

from weights_converter.errors import CheckpointError, SettingError
from weights_converter.readers.pickle_values import Tensor, shown

# The dtypes that are read, by PyTorch's name. The last five have no storage class in PyTorch: such tensors
# lie in untyped storages and have a dtype of their own.
DTYPES = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "bool": np.dtype(np.bool_),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "uint8": np.dtype(np.uint8),
    "complex64": np.dtype(np.complex64),
    "complex128": np.dtype(np.complex128),
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}

STORAGE_DTYPES = {
    "torch.BFloat16Storage": DTYPES["bfloat16"],
    "torch.HalfStorage": DTYPES["float16"],
    "torch.FloatStorage": DTYPES["float32"],
    "torch.DoubleStorage": DTYPES["float64"],
    "torch.BoolStorage": DTYPES["bool"],
    "torch.CharStorage": DTYPES["int8"],
    "torch.ShortStorage": DTYPES["int16"],
    "torch.IntStorage": DTYPES["int32"],
    "torch.LongStorage": DTYPES["int64"],
    "torch.ByteStorage": DTYPES["uint8"],
    "torch.ComplexFloatStorage": DTYPES["complex64"],
    "torch.ComplexDoubleStorage": DTYPES["complex128"],
    "torch.storage.UntypedStorage": None,
    # The integers inside quantized tensors; the tensors themselves are not read.
    "torch.QInt8Storage": DTYPES["int8"],
    "torch.QInt32Storage": DTYPES["int32"],
    "torch.QUInt8Storage": DTYPES["uint8"],
}

MAX_DIMENSIONS = 64  # NumPy's own limit
MAX_INT64 = 2**63 - 1
MAX_REPEATED = 1 << 30  # bytes that tensors over shared storages may take beyond those in the file
VARIABLE = "FCN_JAX_MAX_REPEATED_BYTES"  # another limit in place of MAX_REPEATED


def as_arrays(
    tensors: Mapping[str, Tensor], data: Mapping[str, memoryview | bytes], byteorder: str = "little"
) -> dict[str, np.ndarray]:
    """Makes an array of each tensor over the bytes of its storage; see `as_array`.

    Args:
      tensors: {name: tensor}.
      data: {key of a storage: all its bytes}.

    Raises:
      CheckpointError: see `as_array`; or many tensors, or strides of 0, let few bytes stand for very many.
      SettingError: FCN_JAX_MAX_REPEATED_BYTES is no number.
    """
    arrays = {name: as_array(tensor, data[tensor.storage.key], byteorder) for name, tensor in tensors.items()}
    made = sum(array.nbytes for array in arrays.values())
    held = sum({tensor.storage.key: len(data[tensor.storage.key]) for tensor in tensors.values()}.values())
    limit = _most_repeated()
    if made - held > limit:
        raise CheckpointError(
            f"its tensors would take {made:,} bytes, but share {held:,} bytes of the file; at most {limit:,} "
            f"bytes may be repeated. If you trust the file, set the environment variable {VARIABLE} to more"
        )
    return arrays


def _most_repeated() -> int:
    text = os.environ.get(VARIABLE, "")
    if not text:
        return MAX_REPEATED
    if not text.isdecimal() or len(text) > 18:
        raise SettingError(subject=VARIABLE, expected="a number of bytes", got=shown(text))
    return int(text)


def as_array(tensor: Tensor, data: memoryview | bytes, byteorder: str = "little") -> np.ndarray:
    """Makes an array over the bytes of a storage; copies only if their byte order is not native.

    Args:
      tensor: as the pickle describes it.
      data: all bytes of its storage.
      byteorder: "little" or "big", the order of `data`.

    Returns:
      A read-only array of the tensor's shape, dtype and strides. It may be unaligned.

    Raises:
      CheckpointError: size, stride or offset describe no tensor, or reach outside `data`.
    """
    size, stride, offset = tensor.size, tensor.stride, tensor.offset
    if not (_are_counts(size) and _are_counts(stride) and len(size) == len(stride) and is_count(offset)):
        raise CheckpointError(
            f"size {shown(size)}, stride {shown(stride)} and offset {shown(offset)} describe no tensor"
        )
    itemsize = tensor.dtype.itemsize
    if tensor.storage.view is not None:
        first, length = (elements * tensor.storage.itemsize for elements in tensor.storage.view)
        data = memoryview(data)[first : first + length]
    if 0 in size:  # in PyTorch an empty tensor may have any offset
        offset, data = 0, b""
    else:
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if (last + 1) * itemsize > len(data):
            raise CheckpointError(
                f"a tensor of size {shown(size)}, stride {shown(stride)} and offset {offset} needs "
                f"{shown((last + 1) * itemsize)} bytes of storage {shown(tensor.storage.key)}, which has "
                f"{len(data)}"
            )
    if byteorder != sys.byteorder:
        data = _swapped(data, tensor.dtype)
    try:
        array = np.ndarray(size, tensor.dtype, data, offset * itemsize, [step * itemsize for step in stride])
    except (ValueError, OverflowError) as error:
        raise CheckpointError(f"a tensor of size {shown(size)} is too large for NumPy") from error
    array.flags.writeable = False
    return array


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is an int (no bool) from 0 to the largest int64."""
    return type(value) is int and 0 <= value <= MAX_INT64


def _are_counts(values: object) -> TypeGuard[tuple[int, ...]]:
    """Whether a value is a tuple of counts, at most one for each axis NumPy allows."""
    return isinstance(values, tuple) and len(values) <= MAX_DIMENSIONS and all(map(is_count, values))


def _swapped(data: memoryview | bytes, dtype: np.dtype) -> bytes:
    width = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    return np.frombuffer(data, f"u{width}", len(data) // width).byteswap().tobytes()
