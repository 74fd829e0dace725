"""Reads torch.save's zip format, the default since PyTorch 1.6.

NAME/data.pkl                        the state_dict, with storages by key
NAME/byteorder                       "little" or "big"; files before 2.1 have none and are little-endian
NAME/data/0, NAME/data/1, ...        the bytes of each storage
NAME/version, NAME/.format_version, NAME/.storage_alignment, NAME/.data/serialization_id
"""

import concurrent.futures
import mmap
import os

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.mapped_file import map_file, naming
from weights_converter.readers.pickle_machine import load
from weights_converter.readers.pickle_stream import Stream
from weights_converter.readers.pickle_values import Storage, shown
from weights_converter.readers.state_dict import find_tensors
from weights_converter.readers.storages import as_array
from weights_converter.readers.zip_records import Record, contents, read_directory


def read_torch_zip(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a zip checkpoint.

    Returns:
      Read-only arrays by name, in the file's order: views of the mapped file. Every record's checksum is
      verified (torch.load does not), unless the file was saved without checksums.

    Raises:
      CheckpointError: the file cannot be read, is damaged, or holds more than a state_dict.
    """
    mapped = map_file(path)
    with naming(path):
        records = _torch_records(read_directory(path, mapped))
        root, _ = load(Stream(memoryview(contents(records["data.pkl"], mapped))))
        tensors = find_tensors(root)
        byteorder = _byteorder(records, mapped)
        data = _storages({tensor.storage.key: tensor.storage for tensor in tensors.values()}, records, mapped)
        return {
            name: as_array(tensor, data[tensor.storage.key], byteorder) for name, tensor in tensors.items()
        }


def _torch_records(records: dict[str, Record]) -> dict[str, Record]:
    """Removes from the names the one folder that torch.save puts all records in."""
    folders = {name.partition("/")[0] for name in records}
    inside = {name.partition("/")[2]: record for name, record in records.items()}
    if "constants.pkl" in inside:
        raise CheckpointError(
            "is a TorchScript archive (torch.jit.save), a program and its weights; load it in PyTorch and "
            "save `model.state_dict()` with torch.save"
        )
    if any(name.endswith(".npy") for name in records):
        raise CheckpointError("is a NumPy archive (.npz), not a checkpoint from torch.save or safetensors")
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
