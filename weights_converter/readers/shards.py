"""Reads a checkpoint in several files: an index, `*.index.json`, says which file has which tensor.

    {"metadata": {...}, "weight_map": {"backbone.conv1.weight": "model-00001-of-00002.safetensors", ...}}

Source: the files of huggingface_hub, accelerate and transformers. Shards may have any format that is read.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.contents import Contents, of_arrays
from weights_converter.readers.mapped_file import naming
from weights_converter.readers.pickle_values import shown
from weights_converter.readers.tree import walk

SUFFIX = ".index.json"
MAX_INDEX = 64 << 20  # bytes
MAX_SHARDS = 10_000


def file_in(folder: str | os.PathLike) -> Path:
    """Finds the index in a folder.

    Raises:
      CheckpointError: the folder has none, or several; the message says what it is instead.
    """
    with naming(folder):
        names = sorted(os.listdir(folder))
        found = [name for name in names if name.endswith(SUFFIX)]
        if len(found) == 1:
            return Path(folder) / found[0]
        if found:
            raise CheckpointError(
                f"is a folder with {len(found)} indexes of shards; give one: {_some(found)}"
            )
        if ".metadata" in names and any(name.endswith(".distcp") for name in names):
            raise CheckpointError(
                "is a checkpoint of torch.distributed.checkpoint, each rank's part in a file. Where PyTorch "
                "is installed, put them together, and give that file: "
                "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pth`"
            )
        files = [name for name in names if name.endswith((".safetensors", ".pth", ".pt", ".ckpt", ".bin"))]
        such = f", such as {_some(files)}" if files else ""
        raise CheckpointError(f"is a folder; give the checkpoint file inside it{such}")


def _some(names: list[str]) -> str:
    return ", ".join(map(shown, names[:3]))


def open_shards(index: str | os.PathLike, open_file: Callable[[Path], Contents]) -> Contents:
    """Opens all shards of an index.

    Args:
      index: the index.
      open_file: opens one shard.

    Raises:
      CheckpointError: the index is damaged; a shard is missing, lies in another folder or lacks a tensor.
    """
    with naming(index):
        arrays: dict[str, np.ndarray] = {}
        for file, names in _by_file(Path(index)).items():
            shard = open_file(Path(index).parent / file)
            tensors = walk(shard.root).tensors
            missing = [name for name in names if name not in tensors]
            if missing:
                raise CheckpointError(
                    f"its shard {shown(file)} lacks {len(missing)} tensors, such as {shown(missing[0])}"
                )
            arrays |= shard.arrays({name: tensors[name] for name in names})
        return of_arrays(arrays)


def _by_file(index: Path) -> dict[str, list[str]]:
    if index.stat().st_size > MAX_INDEX:
        raise CheckpointError(f"is no index of shards: it has more than {MAX_INDEX} bytes")
    try:
        said = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError("is no index of shards: it is not JSON") from error
    placed = said.get("weight_map") if isinstance(said, dict) else None
    if (
        not isinstance(placed, dict)
        or not placed
        or not all(isinstance(file, str) for file in placed.values())
    ):
        raise CheckpointError('is JSON, but no index of shards: it has no "weight_map" from tensors to files')
    files: dict[str, list[str]] = {}
    for name, file in placed.items():
        if file in ("", ".", "..") or "/" in file or "\\" in file or "\0" in file:
            raise CheckpointError(f"its shard {shown(file)} does not lie beside it")
        files.setdefault(file, []).append(name)
    if len(files) > MAX_SHARDS:
        raise CheckpointError(f"it names {len(files)} shards, more than {MAX_SHARDS}")
    return files
