"""torch.save's stream form of before PyTorch 1.6, which this package reads and only its tests write."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.weights_converter.assembled import numbers, storage, tensor, text, torch_legacy_file
from weights_converter.readers.storages import STORAGE_DTYPES

# The first name of a dtype: the quantized storages after it share theirs.
STORAGES = {dtype: name.removeprefix("torch.") for name, dtype in reversed(STORAGE_DTYPES.items())}
NONE = b"N"


def write_torch_legacy(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a state_dict in stream form, each array for itself and contiguous."""
    arrays = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in tensors.items()}
    entries = []
    for key, (name, array) in enumerate(arrays.items()):
        stored = storage(STORAGES[array.dtype], str(key), array.size, view=NONE)
        strides = np.cumprod((1, *np.maximum(array.shape[:0:-1], 1)), dtype=int)[: array.ndim][::-1]
        entries.append(text(name) + tensor(stored, numbers(*array.shape), numbers(*map(int, strides))))
    pickle = b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(entries) + b"u."
    data = {str(key): (array.size, array.tobytes()) for key, array in enumerate(arrays.values())}
    torch_legacy_file(Path(path), pickle, data)
