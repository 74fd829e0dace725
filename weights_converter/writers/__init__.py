"""Writers, one for each file format; every file is read back and compared before it gets its name."""

from weights_converter.writers.safetensors_file import write_safetensors
from weights_converter.writers.torch_zip import write_torch_zip

__all__ = ["write_safetensors", "write_torch_zip"]
