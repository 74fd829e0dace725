"""Reads the tensors of a network from a checkpoint: opens the file, finds the network, reads its tensors."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.finding import find, passed_over
from weights_converter.readers.contents import Contents, of_arrays
from weights_converter.readers.formats import open_file
from weights_converter.readers.mapped_file import naming
from weights_converter.readers.pickle_globals import whole_module
from weights_converter.readers.pickle_values import Pairs, shown
from weights_converter.readers.plain_values import entry, plain
from weights_converter.readers.safetensors_file import OURS
from weights_converter.readers.state_dict import WRAPPERS, find_tensors, without_module_prefix
from weights_converter.readers.tree import Tree, walk

OF_TRAINING = (
    "optim",
    "lr_sched",
    "scheduler",
    "scaler",
    "rng",
    "random",
)  # keys of a training's own tensors


class Checkpoint(NamedTuple):
    """What was read.

    Attributes:
      tensors: {name: array}, without prefixes.
      metadata: those of a safetensors file; else {}.
      prefix: what stood before the names in the file, keys included: "model.module.".
      passed_over: {path in the file: what it is} of what was not read.
      root: the value of the file, for `notes`.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]
    prefix: str = ""
    passed_over: Mapping[str, str] = MappingProxyType({})
    root: object = None

    def notes(self) -> dict[str, Any]:
        """Returns what the file holds beside its tensors, as plain data: {"meta": {"CLASSES": ...}}."""
        if not isinstance(self.root, Pairs):
            return {}
        return {
            key: plain(value)
            for key, value in self.root.pairs
            if isinstance(key, str) and not walk(value).tensors
        }


def read_checkpoint(path: str | os.PathLike, key: str | None = None) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch checkpoint, a safetensors file or a Caffe model; executes nothing.

    The tensors of a network that `weights_converter` knows are found under any keys, behind any prefix
    ("module.", "_orig_mod.", "model.") and beside anything else. Of other files, the state_dict may stand
    alone or under "model", "state_dict" or "model_state_dict"; "module." before every name is removed.

    Args:
      path: the file.
      key: where to look if there is more than one network: "model_ema"; or "state_dict.student" for names in
        "state_dict" that begin with "student.".

    Returns:
      Arrays by name, in the file's order and dtypes (bfloat16 as `ml_dtypes.bfloat16`). They are read-only
      views of the mapped file, and may be strided or unaligned. Do not write into the file while they exist:
      if another program cuts it short in place, the system ends this process (SIGBUS). Replacing it by a new
      file of the same name is safe.

    Raises:
      CheckpointError: the file has another format or is damaged; it has several networks and no key says
        which; or no table knows its tensors, and it holds more than a state_dict.
    """
    return read_file(path, key).tensors


def read_file(path: str | os.PathLike, key: str | None = None, *, backbone: bool = False) -> Checkpoint:
    """Reads like `read_checkpoint`; also says where the tensors were, and what else the file holds.

    Args:
      backbone: prefers a classifier, whose tensors fill a backbone.
    """
    with naming(path):
        return choose(open_file(path), key, backbone=backbone)


def choose_in_memory(
    tensors: Mapping[str, Any], key: str | None = None, *, backbone: bool = False
) -> Checkpoint:
    """Finds the network in a dict of arrays, which may be nested; see `read_file`."""
    return choose(of_arrays(tensors), key, backbone=backbone)


def choose(contents: Contents, key: str | None, *, backbone: bool = False) -> Checkpoint:
    """Finds the network in the contents of a file, and reads its tensors."""
    root, metadata = contents.root, contents.metadata
    if metadata.get("format") == OURS and key is None:
        return Checkpoint(contents.arrays(contents.root), metadata)  # type: ignore[arg-type]
    tree = walk(root)
    found = find(tree, key, backbone=backbone)
    if found is not None:
        arrays = contents.arrays({name: tree.tensors[path] for name, path in found.names.items()})
        return Checkpoint(arrays, metadata, found.prefix, found.passed_over, root)
    tensors, prefix = _unknown(root, tree, key)
    short = without_module_prefix(tensors)
    taken = [f"{prefix}{name}" for name in tensors]
    prefix += "module." * (short is not tensors)
    return Checkpoint(contents.arrays(short), metadata, prefix, passed_over(tree, prefix, taken), root)


def _unknown(root: object, tree: Tree, key: str | None) -> tuple[dict[str, Any], str]:
    """Takes tensors that belong to no network known here: all under the key, or the one state_dict.

    Returns:
      {name: tensor}, and what stands before the names in the file.
    """
    if key is not None:
        prefix = key.removesuffix(".") + "." if key else ""
        inside = {path: tensor for path, tensor in tree.tensors.items() if path.startswith(prefix)}
        twice = [path for path in inside if path in tree.twice]
        if twice:
            raise CheckpointError(f"it holds the tensor {shown(twice[0])} twice")
        return {path.removeprefix(prefix): tensor for path, tensor in inside.items()}, prefix
    if isinstance(root, Mapping):
        flat = all(not isinstance(value, Mapping) for value in root.values())
        return dict(root) if flat else dict(tree.tensors), ""
    try:
        return find_tensors(root), _wrapper(root)
    except CheckpointError as error:
        if tree.modules:
            raise whole_module(tree.modules[0]) from error
        within = _only_part(root)
        if within is None:
            raise
        name, value = within
        return find_tensors(value), f"{name}.{_wrapper(value)}"


def _wrapper(root: object) -> str:
    """The key, with a dot, that `find_tensors` looks under; "" for none."""
    for wrapper in WRAPPERS:
        if isinstance(entry(root, wrapper), Pairs):
            return f"{wrapper}."
    return ""


def _only_part(root: object) -> tuple[str, object] | None:
    """Finds the only part of a training checkpoint with tensors, beside the optimizer's."""
    if not isinstance(root, Pairs):
        return None
    parts = [(key, value) for key, value in root.pairs if isinstance(key, str) and walk(value).tensors]
    parts = [(key, value) for key, value in parts if not key.startswith(OF_TRAINING)]
    return parts[0] if len(parts) == 1 and isinstance(parts[0][1], Pairs) else None
