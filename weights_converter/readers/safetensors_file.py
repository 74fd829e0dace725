"""Reads safetensors files, from this package or any other.

    8 bytes: length of the header    header: JSON, name -> dtype, shape, [begin, end)    the arrays' bytes

The safetensors library checks the header (bounds, gaps, overlaps, sizes); the arrays are views of the mapped
file.
"""

import collections
import hashlib
import json
import os

import ml_dtypes
import numpy as np
import safetensors

from weights_converter.errors import CheckpointError
from weights_converter.readers.mapped_file import map_file, naming
from weights_converter.readers.pickle_values import shown

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "C64": np.dtype(np.complex64),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
NO_DIGEST = "0" * 64
OURS = "fcn_jax"  # the "format" in the metadata of our own files, all of which have a digest
MOST_SAID = 200  # characters of the library's own message, which may repeat a whole name from the file


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a safetensors file.

    Returns:
      Read-only arrays by name, views of the mapped file; and the metadata. If the metadata have "sha256", the
      digest is verified; our own files must have it.

    Raises:
      CheckpointError: the file cannot be read, is damaged, repeats a name, or has a dtype that NumPy lacks.
    """
    mapped = memoryview(map_file(path))
    with naming(path):
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                names = set(file.keys())
        except (safetensors.SafetensorError, OSError) as error:
            said = _in_short(str(error))
            raise CheckpointError(f"its safetensors header is damaged or it is cut short: {said}") from error
        begin = 8 + int.from_bytes(mapped[:8], "little")
        header = json.loads(bytes(mapped[8:begin]), object_pairs_hook=_without_repeats)
        metadata = header.pop("__metadata__", None) or {}
        if set(header) != names:
            raise CheckpointError("its safetensors header can be read in two ways")
        written = metadata.get("sha256")
        if written is None and metadata.get("format") == OURS:
            raise CheckpointError(
                "it is damaged: a file of fcn_jax has its sha256 in its metadata, and this one has none; "
                "download it again"
            )
        if written is not None and written != digest(mapped[:begin], written, mapped[begin:]):
            raise CheckpointError("it is damaged: its contents do not match its sha256; download it again")
        return {name: _array(name, entry, mapped[begin:]) for name, entry in header.items()}, metadata


def digest(header: bytes | memoryview, written: str, *data: bytes | memoryview) -> str:
    """Computes the SHA-256 of a whole file, with zeros in place of the digest in its header.

    It covers names, shapes and dtypes too: one flipped bit can turn F32 into I32.

    Args:
      header: all bytes before the arrays.
      written: the digest that stands in the header.
      data: the bytes that follow, in any number of pieces.
    """
    header = bytes(header)
    if len(written) == len(NO_DIGEST):
        header = header.replace(written.encode(), NO_DIGEST.encode())
    total = hashlib.sha256(header)
    for piece in data:
        total.update(piece)
    return total.hexdigest()


def _in_short(text: str) -> str:
    text = text[:MOST_SAID] + "..." if len(text) > MOST_SAID else text
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _array(name: str, entry: dict, data: memoryview) -> np.ndarray:
    if entry["dtype"] not in DTYPES:
        raise CheckpointError(
            f"its tensor {shown(name)} has dtype {shown(entry['dtype'])}, which is not supported"
        )
    begin, end = entry["data_offsets"]
    array = np.ndarray(entry["shape"], DTYPES[entry["dtype"]], data[begin:end])
    array.flags.writeable = False
    return array


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = collections.Counter(name for name, _ in pairs).most_common(1)[0]
        raise CheckpointError(f"its safetensors header names {shown(twice)} twice")
    return found
