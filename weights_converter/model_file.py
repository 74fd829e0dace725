"""Whole files: a checkpoint of any known format in, a file of our own format or PyTorch's out.

Our format is safetensors with our names and layouts. Its metadata, all strings, say what the tensors cannot:

  format                "fcn_jax"
  model, num_classes    as `fcn_jax.get_model` takes them
  categories            JSON list of class names, if known
  transforms            JSON of the preset that images go through, if known
  preset                "caffe" or "torchvision", the images that the weights expect, if known
  source, source_sha256 name and digest of the file it was made from, if any
  num_batches_tracked   JSON of PyTorch's batch-norm counters, so that an export gives back every tensor
  sha256                digest of the file, written by the writer and verified by the reader
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from weights_converter import engine
from weights_converter.engine import Conversion
from weights_converter.errors import CheckpointError
from weights_converter.readers import read_with_metadata
from weights_converter.writers import write_safetensors, write_torch_zip

SAFETENSORS_SUFFIX = ".safetensors"
TORCH_SUFFIXES = (".pth", ".pt")


def load_model_file(
    path: str | os.PathLike,
    *,
    strict: bool = True,
    model_name: str | None = None,
    preset: str | None = None,
) -> Conversion:
    """Reads a checkpoint of any known format into the names and layouts of fcn_jax.

    Args:
      path: a `.pth` / `.pt` of either PyTorch container, safetensors with PyTorch's names or ours, or a
        `.caffemodel`.
      strict: missing and unexpected tensors are an error.
      model_name, preset: settle what the file does not tell, as in `engine.to_ours`.

    Raises:
      CheckpointError: the file cannot be read, or its tensors are not those of a known architecture.
    """
    tensors, metadata = read_with_metadata(path)
    try:
        found = engine.to_ours(
            tensors, strict=strict, model_name=model_name, preset=preset, metadata=metadata
        )
    except CheckpointError as error:
        raise CheckpointError(error.reason, path) from None
    return replace(found, path=os.fspath(path))


def save_model_file(
    path: str | os.PathLike,
    params: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes arrays in our names: as safetensors, or as a state_dict for PyTorch, by the suffix.

    Args:
      path: ends in `.safetensors`, `.pth` or `.pt`.
      params: {path: array}, all of a known model.
      metadata: goes into a safetensors file; its `model`, if it has one, tells models apart whose tensors do
        not; its `num_batches_tracked` gives the counters of a `.pth`.

    Raises:
      CheckpointError: an unknown suffix, tensors of no known model, or a file that cannot be written.
    """
    metadata = dict(metadata or {})
    if _check_suffix(path) == SAFETENSORS_SUFFIX:
        architecture = engine.to_ours(params, model_name=metadata.get("model")).architecture
        known = {"format": "fcn_jax", "model": architecture.model_name}
        if architecture.num_classes is not None:
            known["num_classes"] = str(architecture.num_classes)
        write_safetensors(path, params, metadata | known)
    else:
        write_torch_zip(path, engine.to_source(params, _counters(metadata)))


def convert_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    model_name: str | None = None,
    preset: str | None = None,
) -> Conversion:
    """Converts a checkpoint file: to safetensors of our own, or back to PyTorch.

    Args:
      source: any file that `load_model_file` reads.
      target: a `.safetensors`, `.pth` or `.pt` file; it appears whole or not at all.
      metadata: more entries for a safetensors file, such as `categories`.
      model_name, preset: settle what the source does not tell, as in `engine.to_ours`.

    Returns:
      What was converted, with its account.

    Raises:
      CheckpointError: the source cannot be read, the target cannot be written, or they are one file.
    """
    _check_suffix(target)
    if Path(target).exists() and Path(source).exists() and Path(source).samefile(target):
        raise CheckpointError("source and target are the same file; give the target another name", source)
    conversion = load_model_file(source, model_name=model_name, preset=preset)
    if conversion.fresh:
        raise CheckpointError(
            f"is only a start for {model_name}, without {', '.join(conversion.fresh)}; load it into a model",
            source,
        )
    carried = conversion.metadata | {"model": conversion.architecture.model_name}
    if conversion.preset is not None:
        carried["preset"] = conversion.preset
    if conversion.counters is not None:
        carried["source"] = Path(source).name
        carried["source_sha256"] = file_digest(source)
        carried["num_batches_tracked"] = json.dumps(conversion.counters)
    save_model_file(target, conversion.params, carried | dict(metadata or {}))
    return conversion


def file_digest(path: str | os.PathLike) -> str:
    """Computes the SHA-256 of a file, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _counters(metadata: Mapping[str, str]) -> dict[str, int] | None:
    text = metadata.get("num_batches_tracked")
    if text is None:
        return None
    try:
        counters = json.loads(text)
        if not isinstance(counters, dict) or not all(isinstance(value, int) for value in counters.values()):
            raise ValueError("it is no object of whole numbers")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the metadata's num_batches_tracked is not as expected: {error}") from error
    return counters


def _check_suffix(path: str | os.PathLike) -> str:
    suffix = Path(path).suffix
    if suffix not in (SAFETENSORS_SUFFIX, *TORCH_SUFFIXES):
        known = ", ".join([SAFETENSORS_SUFFIX, *TORCH_SUFFIXES])
        raise CheckpointError(
            f"expected a name that ends in one of {known}, got {suffix or 'no suffix'!r}", path
        )
    return suffix
