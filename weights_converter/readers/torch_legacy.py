"""Reads torch.save's stream format, the default before PyTorch 1.6; the published FCN files have it.

    pickle: the magic number        pickle: the state_dict, with storages by key
    pickle: 1001                    pickle: the list of those keys
    pickle: sizes of C types        for each key: int64 number of elements, then their bytes

The format has no checksum: damage to the pickles, sizes or length is found, damage to the weights is not.
Published files have a digest in their names for that.
"""

import os
from collections.abc import Mapping

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.contents import Contents
from weights_converter.readers.mapped_file import map_file, naming
from weights_converter.readers.pickle_machine import load
from weights_converter.readers.pickle_stream import Stream
from weights_converter.readers.pickle_values import Pairs, Storage, Tensor, shown
from weights_converter.readers.state_dict import find_tensors
from weights_converter.readers.storages import as_arrays

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read_torch_legacy(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the state_dict of a checkpoint in stream format.

    Returns:
      Read-only arrays by name, in the file's order: views of the mapped file, often unaligned.

    Raises:
      CheckpointError: the file cannot be read, is damaged, or holds more than a state_dict.
    """
    with naming(path):
        opened = open_torch_legacy(path)
        return opened.arrays(find_tensors(opened.root))


def open_torch_legacy(path: str | os.PathLike) -> Contents:
    """Opens a checkpoint in stream format.

    Raises:
      CheckpointError: the file cannot be read or is damaged.
    """
    mapped = memoryview(map_file(path))
    with naming(path):
        stream = Stream(mapped)
        if load(stream)[0] != MAGIC:
            raise CheckpointError("is a pickle, but not from torch.save: its magic number is missing")
        version, _ = load(stream)
        if version != PROTOCOL:
            raise CheckpointError(f"has torch.save's protocol {shown(version)}; only {PROTOCOL} is known")
        # Beside the sizes of C types stands a flag "little_endian" for the machine that wrote the file. The
        # numbers are little-endian on every machine: torch.save swaps them, and torch.load ignores the flag.
        sys_info, _ = load(stream)
        if not isinstance(sys_info, Pairs):
            raise CheckpointError("its header is damaged")
        root, storages = load(stream)
        keys, _ = load(stream)
        data = _storages(keys, storages, mapped, stream.position)

    def arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        with naming(path):
            return as_arrays(tensors, data)

    return Contents(root, arrays, {})


def _storages(
    keys: object, storages: dict[str, Storage], mapped: memoryview, position: int
) -> dict[str, memoryview]:
    """Finds the storages at the end of the file; they must be exactly those of the pickle."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("its list of storages is damaged")
    if len(set(keys)) != len(keys) or set(keys) != set(storages):
        raise CheckpointError(
            f"its list of {len(keys)} storages does not match the {len(storages)} that its pickle uses"
        )
    data = {}
    for key in keys:
        storage = storages[key]
        begin = position + 8
        if begin + storage.nbytes > len(mapped):
            raise CheckpointError(
                f"it is cut short: storage {shown(key)} ends at byte {begin + storage.nbytes}, the file at "
                f"{len(mapped)}; download it again"
            )
        numel = int.from_bytes(mapped[position:begin], "little", signed=True)
        if numel != storage.numel:
            raise CheckpointError(
                f"its storage {shown(key)} has {numel} elements, its pickle says {storage.numel}"
            )
        position = begin + storage.nbytes
        data[key] = mapped[begin:position]
    if position != len(mapped):
        raise CheckpointError(
            f"it has {len(mapped) - position} bytes after its last storage: damage, or a second file"
        )
    return data
