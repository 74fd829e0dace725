"""Opens a file; its content decides the format, not its name."""

import mmap
import os

from weights_converter.errors import CheckpointError
from weights_converter.readers.caffemodel import begins_like_caffemodel, read_caffemodel
from weights_converter.readers.contents import Contents, of_arrays
from weights_converter.readers.mapped_file import map_file, naming
from weights_converter.readers.safetensors_file import read_safetensors
from weights_converter.readers.shards import file_in, open_shards
from weights_converter.readers.torch_legacy import MAGIC, open_torch_legacy
from weights_converter.readers.torch_zip import open_torch_zip

ACCEPTED = "Accepted are files of torch.save (zip or older stream), safetensors and Caffe's .caffemodel"
MAGIC_FORMS = (MAGIC.to_bytes(10, "little"), str(MAGIC).encode())  # in binary pickles and in text pickles


def open_file(path: str | os.PathLike) -> Contents:
    """Opens a checkpoint of one file, an index of shards, or the folder with one; executes nothing.

    Raises:
      CheckpointError: the file has another format or is damaged.
    """
    if os.path.isdir(path):
        return open_shards(file_in(path), open_one)
    with naming(path):
        begin = map_file(path)[:64]
    # A safetensors file may begin so too, where its header has 123 bytes; but JSON has no zeros.
    is_json = begin.lstrip().startswith(b"{") and b"\0" not in begin
    return open_shards(path, open_one) if is_json else open_one(path)


def open_one(path: str | os.PathLike) -> Contents:
    """Opens a PyTorch checkpoint, a safetensors file or a Caffe model; executes nothing.

    Raises:
      CheckpointError: the file has another format or is damaged.
    """
    mapped = map_file(path)
    with naming(path):
        if mapped[:4] == b"PK\x03\x04":
            return open_torch_zip(path)
        if any(magic in mapped[:64] for magic in MAGIC_FORMS):
            return open_torch_legacy(path)
        if mapped[5:9] == b"\x00\x00\x00{":  # after the length of a header below 2**40 bytes
            return of_arrays(*read_safetensors(path))
        foreign = _looks_like(mapped)
        # Last, because Caffe's format has no magic number: other files could look like it.
        if foreign is None and begins_like_caffemodel(memoryview(mapped)):
            return of_arrays(read_caffemodel(path))
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
