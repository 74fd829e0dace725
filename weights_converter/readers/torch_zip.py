"""Reads torch.save's zip format, the default since PyTorch 1.6, and TorchScript's archives.

NAME/data.pkl                        the state_dict, with storages by key
NAME/byteorder                       "little" or "big"; files before 2.1 have none and are little-endian
NAME/data/0, NAME/data/1, ...        the bytes of each storage
NAME/code/..., NAME/constants.pkl  only TorchScript: the program, which is not looked at
NAME/version, NAME/.format_version, NAME/.storage_alignment, NAME/.data/serialization_id
"""

import concurrent.futures
import mmap
import os
from collections.abc import Mapping

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.contents import Contents
from weights_converter.readers.mapped_file import map_file, naming
from weights_converter.readers.pickle_machine import load
from weights_converter.readers.pickle_stream import Stream
from weights_converter.readers.pickle_values import Storage, Tensor, shown
from weights_converter.readers.state_dict import find_tensors
from weights_converter.readers.storages import as_arrays
from weights_converter.readers.zip_records import Record, contents, read_directory

SCRIPT = "is a TorchScript archive (torch.jit.save), a program and its weights"
WAY_ON = "load it in PyTorch and save `model.state_dict()` with torch.save"
EXPORT = {"facts.json", "function", "weights.npz"}  # the records of an exported model


def read_torch_zip(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the state_dict of a zip checkpoint.

    Returns:
      Read-only arrays by name, in the file's order: views of the mapped file. Every record's checksum is
      verified (torch.load does not), unless the file was saved without checksums.

    Raises:
      CheckpointError: the file cannot be read, is damaged, or holds more than a state_dict.
    """
    with naming(path):
        opened = open_torch_zip(path)
        return opened.arrays(find_tensors(opened.root))


def open_torch_zip(path: str | os.PathLike) -> Contents:
    """Opens a zip checkpoint, or a TorchScript archive, whose modules become dicts of their parts.

    Raises:
      CheckpointError: the file cannot be read, or its pickle is damaged.
    """
    mapped = map_file(path)
    with naming(path):
        records = _torch_records(read_directory(path, mapped))
        try:
            root, _ = load(Stream(memoryview(contents(records["data.pkl"], mapped))))
        except CheckpointError as error:
            if "constants.pkl" in records:
                raise CheckpointError(
                    f"{SCRIPT}, which cannot be read here ({error.reason}); {WAY_ON}"
                ) from error
            raise

    def arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        with naming(path):
            byteorder = _byteorder(records, mapped)
            data = _storages(
                {tensor.storage.key: tensor.storage for tensor in tensors.values()}, records, mapped
            )
            return as_arrays(tensors, data, byteorder)

    return Contents(root, arrays, {})


def _torch_records(records: dict[str, Record]) -> dict[str, Record]:
    """Removes from the names the one folder that torch.save puts all records in."""
    folders = {name.partition("/")[0] for name in records}
    inside = {name.partition("/")[2]: record for name, record in records.items()}
    if any(name.endswith(".npy") for name in records):
        raise CheckpointError("is a NumPy archive (.npz), not a checkpoint from torch.save or safetensors")
    if records.keys() >= EXPORT:
        raise CheckpointError(
            "is a model exported by `fcn-jax export`, a program for inference: run it with "
            "fcn_jax.inference.export.load_exported, or give the checkpoint that it was made from"
        )
    if "data.pkl" not in inside:
        raise CheckpointError("is a zip archive, but not from torch.save: it has no data.pkl")
    if len(folders) != 1:
        raise CheckpointError(f"is a zip archive with {len(folders)} folders; torch.save writes one")
    return inside


def _byteorder(records: dict[str, Record], mapped: mmap.mmap) -> str:
    if "byteorder" not in records:
        return "little"
    order = bytes(contents(records["byteorder"], mapped))
    if order not in (b"little", b"big"):
        raise CheckpointError(
            f'its byteorder is {shown(order.decode("latin-1"))}, neither "little" nor "big"'
        )
    return order.decode()


def _storages(
    storages: dict[str, Storage], records: dict[str, Record], mapped: mmap.mmap
) -> dict[str, memoryview | bytes]:
    for key, storage in storages.items():
        record = records.get(f"data/{key}")
        if record is None:
            raise CheckpointError(f"it has no record {shown(f'data/{key}')}, which a tensor needs")
        if record.size != storage.nbytes:
            raise CheckpointError(
                f"its record {shown(record.name)} has {record.size} bytes, its pickle says {storage.nbytes}"
            )
    # zlib releases Python's lock, so threads compute the checksums on all cores.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        data = threads.map(lambda key: contents(records[f"data/{key}"], mapped), storages)
        return dict(zip(storages, data, strict=True))
