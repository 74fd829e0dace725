"""Readers, one for each file format. They execute nothing in a file."""

from weights_converter.readers.caffemodel import read_caffemodel
from weights_converter.readers.checkpoint import read_checkpoint, read_with_metadata
from weights_converter.readers.safetensors_file import read_safetensors
from weights_converter.readers.torch_legacy import read_torch_legacy
from weights_converter.readers.torch_zip import read_torch_zip

__all__ = [
    "read_caffemodel",
    "read_checkpoint",
    "read_safetensors",
    "read_torch_legacy",
    "read_torch_zip",
    "read_with_metadata",
]
