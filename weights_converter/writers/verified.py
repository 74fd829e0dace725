"""What all writers share: raw bytes of an array, and a file that is compared before it gets its name."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.files import replacing

PIECE = 2**20  # bytes compared at a time, so that comparing takes no memory to speak of


@contextlib.contextmanager
def verified(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    read: Callable[[Path], dict[str, np.ndarray]],
) -> Iterator[BinaryIO]:
    """Gives a new file to write into; reads it back, compares, and only then lets it take the name `path`.

    Args:
      path: the final name.
      tensors: what is going to be written.
      read: reads the file back.

    Raises:
      CheckpointError: the file cannot be written here, or what was written does not read back bit for bit.
    """
    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                yield file
            _compare(tensors, read(temporary))
    except CheckpointError as error:
        raise CheckpointError(f"cannot be written: {error.reason}", path) from error
    except OSError as error:
        raise CheckpointError(f"cannot be written: {error.strerror or error}", path) from error


def raw(array: np.ndarray) -> np.ndarray:
    """An array's bytes in C order, (nbytes,) uint8; without copying if that is how they lie."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def as_native(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors as arrays in native byte order.

    Raises:
      CheckpointError: there are none, or a name is no text.
    """
    if not tensors:
        raise CheckpointError("cannot be written: there are no tensors to write", path)
    strange = [name for name in tensors if not isinstance(name, str)]
    if strange:
        raise CheckpointError(f"cannot be written: a tensor's name is {strange[0]!r}, not text", path)
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}


def _compare(written: Mapping[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    if list(written) != list(found):
        raise CheckpointError("read back, its names are not those that were written")
    for name, array in written.items():
        other = found[name]
        alike = (array.dtype, array.shape) == (other.dtype, other.shape)
        if not alike or not _equal(raw(array), raw(other)):
            raise CheckpointError(f"read back, its tensor {name!r} is not the one that was written")


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    pieces = range(0, one.size, PIECE)
    return all(np.array_equal(one[begin : begin + PIECE], other[begin : begin + PIECE]) for begin in pieces)
