"""The record of a conversion, as JSON values."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from fcn_jax.certificate.comparison import compare
from weights_converter import Conversion, load_model_file
from weights_converter.model_file import file_digest

FORMAT = "fcn_jax certificate 1"
PACKAGES = ("fcn_jax", "jax", "flax", "numpy", "safetensors", "torch", "torchvision")


def certify(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    model_name: str | None = None,
    preset: str | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Compares a converted file with its source: digests, tensors, and the function.

    Both files are read anew. One of them usually has the names of PyTorch or Caffe: if PyTorch is installed,
    the network is built there from that file's tensors, and here from the other file.

    Args:
      source: a checkpoint in any format that can be read.
      target: what `convert` made of it.
      model_name, preset, key: as the conversion was called.

    Returns:
      JSON values: "source" and "result" (file, bytes, sha256), "network", "tensors" ("used": a list of
      source, ours, shape, dtype; "set_aside": {name: why}; "equal": whether all numbers are equal bit for
      bit), "comparison" (see `comparison.compare`), "versions" and "format".

    Raises:
      CheckpointError: a file cannot be read, or they belong to different networks.
    """
    return certify_conversion(load_model_file(source, preset=preset, key=key).for_model(model_name), target)


def certify_conversion(read: Conversion, target: str | os.PathLike) -> dict[str, Any]:
    """Compares a converted file with the conversion of its source; see `certify`."""
    assert read.path is not None, "conversions of files have a path"
    made = load_model_file(target).for_model(read.spec.name)
    return {
        "format": FORMAT,
        "source": _file(read.path),
        "result": _file(target),
        "network": json.loads(read.spec.to_json()),
        "tensors": {
            "used": [_used(read, name, array) for name, array in read.params.items()],
            "set_aside": read.dropped | read.passed_over,
            "counters": len(read.counters or ()),
            "equal": _equal(read, made),
        },
        "comparison": compare(read, made),
        "versions": {"python": platform.python_version()} | _versions(),
    }


def _file(path: str | os.PathLike) -> dict[str, Any]:
    path = Path(path)
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path)}


def _used(read: Conversion, name: str, array: np.ndarray) -> dict[str, Any]:
    shape, dtype = [int(side) for side in array.shape], str(array.dtype)
    return {"source": read.prefix + read.names.get(name, name), "ours": name, "shape": shape, "dtype": dtype}


def _equal(read: Conversion, made: Conversion) -> bool:
    return list(read.params) == list(made.params) and all(
        array.dtype == made.params[name].dtype and array.tobytes() == made.params[name].tobytes()
        for name, array in read.params.items()
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
