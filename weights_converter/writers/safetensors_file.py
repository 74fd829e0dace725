"""Writes safetensors files that carry their own digest."""

import hashlib
import json
import os
from collections.abc import Mapping

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.safetensors_file import DTYPES, NO_DIGEST, read_safetensors
from weights_converter.writers.verified import as_native, verified

NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes named arrays and text to a safetensors file.

    Equal arrays and metadata make equal files, in whatever order they are given: wide dtypes lie first, for
    alignment, then names decide. "sha256" is added to the metadata.

    Raises:
      CheckpointError: the file cannot be written, or the format cannot hold a name, dtype or metadata value.
    """
    arrays = as_native(path, tensors)
    if "__metadata__" in arrays:
        raise CheckpointError('cannot be written: no tensor can be named "__metadata__"', path)
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise CheckpointError("cannot be written: metadata must be text", path)
    for name, array in arrays.items():
        if array.dtype not in NAMES:
            raise CheckpointError(
                f"cannot be written: tensor {name!r} has dtype {array.dtype}, which safetensors lacks",
                path,
            )
    arrays = dict(sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
    # The digest also covers the header, with zeros where the digest itself will stand.
    header = _header(arrays, {**metadata, "sha256": NO_DIGEST})
    digest = hashlib.sha256(header)
    with verified(path, arrays, lambda temporary: read_safetensors(temporary)[0], digest) as (file, data_of):
        file.write(header)
        for name in arrays:
            file.write(data_of(name))
        file.seek(0)
        file.write(_header(arrays, {**metadata, "sha256": digest.hexdigest()}))


def _header(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        entries[name] = {"dtype": NAMES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
