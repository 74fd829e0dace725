"""Writes torch.save's stream form of before PyTorch 1.6, without PyTorch."""

import os
from collections.abc import Mapping

import numpy as np

from weights_converter.readers.torch_legacy import MAGIC, PROTOCOL, read_torch_legacy
from weights_converter.writers.torch_pickle import TRUE, dict_of, integer, list_of, pickled, state_dict, text
from weights_converter.writers.verified import as_native, verified

TYPE_SIZES = {"short": 2, "int": 4, "long": 4}


def write_torch_legacy(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a state_dict in stream form, which every PyTorch since 0.4 reads.

    Equal arrays in equal order make equal files. Arrays that share memory are written each for itself.

    Raises:
      CheckpointError: the file cannot be written, or PyTorch has no storage of an array's dtype.
    """
    arrays = as_native(path, tensors)
    sizes = [part for name, size in TYPE_SIZES.items() for part in (text(name), integer(size))]
    fields = {
        "protocol_version": integer(PROTOCOL),
        "little_endian": TRUE,
        "type_sizes": dict_of(*sizes),
    }
    with verified(path, arrays, read_torch_legacy) as (file, data_of):
        file.write(pickled(integer(MAGIC)))
        file.write(pickled(integer(PROTOCOL)))
        file.write(
            pickled(dict_of(*(part for name, value in fields.items() for part in (text(name), value))))
        )
        file.write(pickled(state_dict(arrays, legacy=True)))
        file.write(pickled(list_of(*(text(str(key)) for key in range(len(arrays))))))
        for name, array in arrays.items():
            file.write(array.size.to_bytes(8, "little"))
            file.write(data_of(name))
