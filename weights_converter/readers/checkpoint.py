"""Reads a checkpoint; the content decides the format, not the file's name."""

import mmap
import os

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.caffemodel import begins_like_caffemodel, read_caffemodel
from weights_converter.readers.mapped_file import map_file, naming
from weights_converter.readers.safetensors_file import read_safetensors
from weights_converter.readers.state_dict import without_module_prefix
from weights_converter.readers.torch_legacy import MAGIC, read_torch_legacy
from weights_converter.readers.torch_zip import read_torch_zip

ACCEPTED = "Accepted are files of torch.save (zip or older stream), safetensors and Caffe's .caffemodel"
MAGIC_FORMS = (MAGIC.to_bytes(10, "little"), str(MAGIC).encode())  # in binary pickles and in text pickles


def read_checkpoint(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch checkpoint, a safetensors file or a Caffe model; executes nothing.

    A state_dict may stand alone or under "model", "state_dict" or "model_state_dict". A "module." before
    every name is removed.

    Returns:
      Arrays by name, in the file's order and dtypes (bfloat16 as `ml_dtypes.bfloat16`). They are read-only
      views of the mapped file, and may be strided or unaligned. Do not write into the file while they exist.

    Raises:
      CheckpointError: the file has another format, is damaged, or holds more than tensors.
    """
    return read_with_metadata(path)[0]


def read_with_metadata(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads like `read_checkpoint`; also returns a safetensors file's metadata, {} for other files."""
    mapped, metadata = map_file(path), {}
    with naming(path):
        if mapped[:4] == b"PK\x03\x04":
            return without_module_prefix(read_torch_zip(path)), metadata
        if any(magic in mapped[:64] for magic in MAGIC_FORMS):
            return without_module_prefix(read_torch_legacy(path)), metadata
        if mapped[5:9] == b"\x00\x00\x00{":  # after the length of a header below 2**40 bytes
            tensors, metadata = read_safetensors(path)
            return without_module_prefix(tensors), metadata
        foreign = _looks_like(mapped)
        # Last, because Caffe's format has no magic number: other files could look like it.
        if foreign is None and begins_like_caffemodel(memoryview(mapped)):
            return read_caffemodel(path), metadata
        raise CheckpointError(f"{foreign or 'is not a checkpoint of a known format'}. {ACCEPTED}")


def _looks_like(mapped: mmap.mmap) -> str | None:
    begin = mapped[:512]
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not a checkpoint: the server sent a page instead; download it again"
    if begin.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file it points to; run `git lfs pull`"
    if begin[257:262] == b"ustar":
        return (
            "is a tar archive; if it is torch.save's format of 2017 and you trust it, load it with "
            "torch.load(weights_only=False) and save the state_dict again"
        )
    if begin.startswith(b"PK"):
        return "is an empty zip archive or one part of several"
    if begin.startswith(b"\x1f\x8b"):
        return "is compressed with gzip; unpack it first"
    if begin.startswith(b"\x89HDF\r\n\x1a\n"):
        return "is an HDF5 file (Keras, MATLAB 7.3, or Caffe's .caffemodel.h5)"
    if begin.startswith(b"\x93NUMPY"):
        return "is a NumPy array (.npy)"
    if begin[:1] == b"\x80" and begin[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a pickle, but not from torch.save, or it is damaged"
    if text.startswith((b"name:", b"layer {", b"layers {", b"input:")):
        return "is the definition of a Caffe net (.prototxt), without weights; give its .caffemodel"
    return None
