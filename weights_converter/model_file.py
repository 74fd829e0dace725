"""Reads checkpoint files of any known format, and writes our own format or PyTorch's.

Our format is safetensors with our names and layouts. Its metadata, all strings, hold what the tensors cannot:

  format                "fcn_jax"
  spec                  JSON of the network's `ModelSpec`; older files have `model` and `num_classes`
  categories            JSON list of class names, if known
  palette               JSON list of colours [r, g, b] by class, if the dataset has its own
  threshold             JSON of the probability from which one logit means foreground, if it was chosen
  transforms            JSON of the transforms preset, if known
  window                JSON of the sliding window that the network is tested with, if any: crop and stride
  preset                "caffe" or "torchvision", the images that the weights expect, if known
  source, source_sha256 name and digest of the converted file, if any
  num_batches_tracked   JSON of PyTorch's batch-norm counters, which an export restores
  sha256                digest of the file; the reader verifies it
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from weights_converter.conversion import Aux, Conversion, check_arrays, to_ours, to_source
from weights_converter.errors import CheckpointError
from weights_converter.readers.checkpoint import Checkpoint, choose_in_memory, read_file
from weights_converter.spec import ModelSpec
from weights_converter.writers import write_safetensors, write_torch_zip

Source = str | os.PathLike | Mapping[str, np.ndarray]
"""A checkpoint file, or a state_dict in memory."""
SAFETENSORS_SUFFIX = ".safetensors"
TORCH_SUFFIXES = (".pth", ".pt")


def read_weights(
    source: Source,
    *,
    strict: bool = True,
    preset: str | None = None,
    key: str | None = None,
    backbone: bool = False,
    aux: Aux = "require",
) -> Conversion:
    """Reads a checkpoint file or a state_dict in memory; converts to the names and layouts of fcn_jax.

    Args:
      source: a file for `load_model_file`, or {name: array}, which may be nested.
      strict, preset, aux: as in `to_ours`.
      key: where the network is, if there are several; see `read_checkpoint`.
      backbone: prefers a classifier, whose tensors fill a backbone, to a segmentation network beside it.

    Raises:
      CheckpointError: the file cannot be read, the tensors belong to no known network, or there are several
        networks and no key.
    """
    if isinstance(source, Mapping):
        return _converted(choose_in_memory(source, key, backbone=backbone), strict, preset, aux)
    return load_model_file(source, strict=strict, preset=preset, key=key, backbone=backbone, aux=aux)


def load_model_file(
    path: str | os.PathLike,
    *,
    strict: bool = True,
    preset: str | None = None,
    key: str | None = None,
    backbone: bool = False,
    aux: Aux = "require",
) -> Conversion:
    """Reads a checkpoint of any known format; converts to the names and layouts of fcn_jax.

    Args:
      path: a `.pth` / `.pt` of either PyTorch container, safetensors with PyTorch's names or ours, or a
        `.caffemodel`; or an index of shards (`.index.json`), or a folder with one.
      strict, preset, key, backbone, aux: as in `read_weights`.

    Raises:
      CheckpointError: the file cannot be read, its tensors belong to no known network, or it holds several
        networks and there is no key.
    """
    checkpoint = read_file(path, key, backbone=backbone)
    try:
        found = _converted(checkpoint, strict, preset, aux)
    except CheckpointError as error:
        raise error.about(path) from None
    return replace(found, path=os.fspath(path))


def _converted(checkpoint: Checkpoint, strict: bool, preset: str | None, aux: Aux) -> Conversion:
    found = to_ours(
        checkpoint.tensors,
        strict=strict,
        preset=preset,
        metadata=checkpoint.metadata,
        notes=checkpoint.notes,
        aux=aux,
    )
    return replace(found, prefix=checkpoint.prefix, passed_over=dict(checkpoint.passed_over))


def save_model_file(
    path: str | os.PathLike,
    params: Mapping[str, np.ndarray],
    spec: ModelSpec,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes arrays in our names: as safetensors, or as a state_dict for PyTorch, by the suffix.

    Args:
      path: ends in `.safetensors`, `.pth` or `.pt`.
      params: {path: array}, every array of the network.
      spec: the network.
      metadata: for a safetensors file; a `.pth` takes its counters from `num_batches_tracked`.

    Raises:
      CheckpointError: an unknown suffix, tensors of another network, or a file that cannot be written.
    """
    metadata = dict(metadata or {})
    if check_suffix(path) == SAFETENSORS_SUFFIX:
        check_arrays(params, spec)
        write_safetensors(path, params, metadata | {"format": "fcn_jax", "spec": spec.to_json()})
    else:
        write_torch_zip(path, to_source(params, spec, _counters(metadata)))


def save_conversion(
    conversion: Conversion, path: str | os.PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a conversion, with the metadata that its file had.

    Args:
      conversion: from `load_model_file`.
      path: ends in `.safetensors`, `.pth` or `.pt`; it appears whole or not at all.
      metadata: more entries for a safetensors file, such as `categories`.

    Raises:
      CheckpointError: the file cannot be written, or source and target are the same file.
    """
    check_suffix(path)
    conversion = conversion.settled()
    source = conversion.path
    if source is not None and Path(path).exists() and Path(source).exists() and Path(source).samefile(path):
        raise CheckpointError("source and target are the same file; give the target another name", source)
    carried = {
        key: value for key, value in conversion.metadata.items() if key not in ("model", "num_classes")
    }
    if conversion.preset is not None:
        carried["preset"] = conversion.preset
    if conversion.counters is not None:
        carried["num_batches_tracked"] = json.dumps(conversion.counters)
        if source is not None:
            carried["source"] = Path(source).name
            if Path(source).is_file():  # a folder of shards has no digest
                carried["source_sha256"] = file_digest(source)
    save_model_file(path, conversion.params, conversion.spec, carried | dict(metadata or {}))


def convert_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    model_name: str | None = None,
    preset: str | None = None,
    key: str | None = None,
    strict: bool = True,
    align_corners: bool | None = None,
    aux: Aux = "require",
) -> Conversion:
    """Converts a checkpoint file to our own safetensors, or back to PyTorch.

    Args:
      source: any file that `load_model_file` reads.
      target: a `.safetensors`, `.pth` or `.pt` file; it appears whole or not at all.
      model_name: the network, where the source does not say which: "fcn8s_atonce_vgg16" for the PyTorch
        port's file; mmsegmentation's without its config.
      preset, strict, aux: as in `to_ours`.
      key: where the network is, if the file holds several; see `read_checkpoint`.
      align_corners: where mmsegmentation's file does not say it.

    Returns:
      The conversion, including the tensors that were dropped.

    Raises:
      CheckpointError: the source cannot be read, the target cannot be written, or they are the same file.
    """
    check_suffix(target)
    conversion = load_model_file(source, preset=preset, key=key, strict=strict, aux=aux)
    conversion = conversion.for_model(model_name).settled(align_corners)
    save_conversion(conversion, target)
    return conversion


def file_digest(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Computes a file's digest in hex digits; `algorithm` is one of `hashlib`."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _counters(metadata: Mapping[str, str]) -> dict[str, int] | None:
    text = metadata.get("num_batches_tracked")
    if text is None:
        return None
    try:
        counters = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(subject="num_batches_tracked", expected="JSON", got=repr(text[:80])) from error
    if not isinstance(counters, dict) or not all(type(value) is int for value in counters.values()):
        raise CheckpointError(
            subject="num_batches_tracked", expected="an object of whole numbers", got=repr(text[:80])
        )
    return counters


def check_suffix(path: str | os.PathLike) -> str:
    """Returns the suffix of a file to write; raises CheckpointError if no writer has this suffix."""
    suffix = Path(path).suffix
    if suffix not in (SAFETENSORS_SUFFIX, *TORCH_SUFFIXES):
        known = ", ".join([SAFETENSORS_SUFFIX, *TORCH_SUFFIXES])
        raise CheckpointError(
            f"expected a name that ends in one of {known}, got {suffix or 'no suffix'!r}", path
        )
    return suffix
