"""Readers, one for each file format. They execute nothing in a file."""

from weights_converter.readers.caffemodel import read_caffemodel
from weights_converter.readers.checkpoint import Checkpoint, read_checkpoint, read_file
from weights_converter.readers.safetensors_file import read_safetensors
from weights_converter.readers.torch_legacy import read_torch_legacy
from weights_converter.readers.torch_zip import read_torch_zip

__all__ = [
    "Checkpoint",
    "read_caffemodel",
    "read_checkpoint",
    "read_file",
    "read_safetensors",
    "read_torch_legacy",
    "read_torch_zip",
]
