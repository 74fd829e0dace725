"""Writes torch.save's zip format without PyTorch."""

import os
import sys
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from weights_converter.readers.torch_zip import read_torch_zip
from weights_converter.writers.torch_pickle import pickled, state_dict
from weights_converter.writers.verified import as_native, verified

ALIGNMENT = 64  # bytes; torch.save starts every record at a multiple
LOCAL_HEADER, EXTRA_HEADER = 30, 4
FOLDER = "archive"


def write_torch_zip(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a state_dict that torch.load(weights_only=True) reads as an OrderedDict of tensors.

    Equal arrays in equal order make equal files. Arrays that share memory are written separately.

    Raises:
      CheckpointError: the file cannot be written, or PyTorch has no storage for an array's dtype.
    """
    arrays = as_native(path, tensors)
    with (
        verified(path, arrays, read_torch_zip) as (file, data_of),
        zipfile.ZipFile(file, "w") as archive,
    ):
        _add(archive, file, "data.pkl", pickled(state_dict(arrays)))
        _add(archive, file, ".format_version", b"1")
        _add(archive, file, ".storage_alignment", str(ALIGNMENT).encode())
        _add(archive, file, "byteorder", sys.byteorder.encode())
        for key, name in enumerate(arrays):
            _add(archive, file, f"data/{key}", data_of(name))
        _add(archive, file, "version", b"3\n")


def _add(archive: zipfile.ZipFile, file: BinaryIO, name: str, data: bytes | memoryview) -> None:
    """Adds a record. Its data begin at a multiple of the alignment; an extra field fills the gap."""
    entry = zipfile.ZipInfo(f"{FOLDER}/{name}")
    entry.file_size = len(data)
    begin = file.tell() + LOCAL_HEADER + len(entry.filename.encode()) + EXTRA_HEADER
    padding = -begin % ALIGNMENT
    entry.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    with archive.open(entry, "w") as record:
        record.write(data)
