"""What all writers share: an array's bytes, and a file that is read back before it gets its name.

A transposed array is copied to C order once, while it is written. The file that is read back is compared with
a digest of those bytes, so no second copy is needed.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.files import replacing

BLOCK = 64  # elements along each of two axes; with a kernel's other two axes they fit into the CPU's caches


@contextlib.contextmanager
def verified(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    read: Callable[[Path], dict[str, np.ndarray]],
    digest: "hashlib._Hash | None" = None,
) -> Iterator[tuple[BinaryIO, Callable[[str], memoryview]]]:
    """Yields a new file to write into; reads it back, compares, and only then renames it to `path`.

    Args:
      path: the final name.
      tensors: {name: array} that will be written.
      read: reads the file back.
      digest: a SHA-256 that is updated with the tensors' bytes as they are written.

    Yields:
      The file, and a function from a tensor's name to its bytes. Call it once for each name, in the order of
      `tensors`; the bytes are freed when the caller drops them.

    Raises:
      CheckpointError: the file cannot be written, or reading it back gives other bits.
    """
    digest = hashlib.sha256() if digest is None else digest
    start = digest.copy()
    written = {}

    def data_of(name: str) -> memoryview:
        data = raw(tensors[name])
        digest.update(data)
        written[name] = digest.digest()
        return data

    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                yield file, data_of
            _compare(tensors, written, read(temporary), start)
    except CheckpointError as error:
        raise CheckpointError(f"cannot be written: {error.reason}", path) from error
    except OSError as error:
        raise CheckpointError(f"cannot be written: {error.strerror or error}", path) from error


def raw(array: np.ndarray) -> memoryview:
    """Returns an array's bytes in C order, without copying if they already lie in this order."""
    return _contiguous(array).reshape(-1).view(np.uint8).data


def _contiguous(array: np.ndarray) -> np.ndarray:
    """Does what np.ascontiguousarray does, in a fraction of the time for a large transposed kernel.

    Rows of the copy are columns of the original. Copying by blocks uses every cache line that is fetched.
    """
    if array.flags.c_contiguous or array.ndim < 2:
        return np.ascontiguousarray(array)
    copy = np.empty(array.shape, array.dtype)
    longest = np.argsort(array.shape)[-2:]
    into, out_of = (np.moveaxis(each, longest, (0, 1)) for each in (copy, array))
    rows, columns = (array.shape[axis] for axis in longest)
    for row in range(0, rows, BLOCK):
        for column in range(0, columns, BLOCK):
            block = np.s_[row : row + BLOCK, column : column + BLOCK]
            into[block] = out_of[block]
    return copy


def as_native(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the tensors as arrays in native byte order.

    Raises:
      CheckpointError: there are no tensors, or a name is not text.
    """
    if not tensors:
        raise CheckpointError("cannot be written: there are no tensors to write", path)
    strange = [name for name in tensors if not isinstance(name, str)]
    if strange:
        raise CheckpointError(f"cannot be written: a tensor's name is {strange[0]!r}, not text", path)
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}


def _compare(
    tensors: Mapping[str, np.ndarray],
    written: Mapping[str, bytes],
    found: dict[str, np.ndarray],
    digest: "hashlib._Hash",
) -> None:
    """Compares names, dtypes and shapes, and after each tensor the digest of all bytes so far."""
    if list(tensors) != list(found):
        raise CheckpointError("read back, it has other names than were written")
    for name, array in tensors.items():
        other = found[name]
        digest.update(raw(other))
        alike = (array.dtype, array.shape) == (other.dtype, other.shape)
        if not alike or digest.digest() != written.get(name):
            raise CheckpointError(f"read back, its tensor {name!r} has other values than were written")
