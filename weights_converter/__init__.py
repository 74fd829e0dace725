"""Converts checkpoint files to named NumPy arrays, and back. Needs neither JAX nor PyTorch.

arrays = read_checkpoint("fcn_resnet50_coco-1167a1af.pth")   # {"backbone.conv1.weight": ..., ...}
model_name, params = convert(arrays)                         # {"backbone.conv1.kernel": ..., ...}
state_dict = export(params, model_name)                      # PyTorch's names and layouts
"""

from weights_converter.account import Account
from weights_converter.api import convert, export
from weights_converter.conversion import Conversion
from weights_converter.errors import CheckpointError, FCNError, SettingError
from weights_converter.model_file import (
    Source,
    convert_file,
    load_model_file,
    read_weights,
    save_conversion,
    save_model_file,
)
from weights_converter.readers import read_caffemodel, read_checkpoint, read_safetensors
from weights_converter.spec import ModelSpec
from weights_converter.writers import write_safetensors, write_torch_zip

__all__ = [
    "Account",
    "CheckpointError",
    "Conversion",
    "FCNError",
    "ModelSpec",
    "SettingError",
    "Source",
    "convert",
    "convert_file",
    "export",
    "load_model_file",
    "read_caffemodel",
    "read_checkpoint",
    "read_safetensors",
    "read_weights",
    "save_conversion",
    "save_model_file",
    "write_safetensors",
    "write_torch_zip",
]
