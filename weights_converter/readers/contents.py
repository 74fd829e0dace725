"""What a reader finds in a file, before anything in it is chosen."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Contents(NamedTuple):
    """The contents of a file.

    Attributes:
      root: the value that the file holds: dicts, lists, numbers, text, objects as data, and tensors. For
        `tree.walk` and `plain_values.plain`.
      arrays: makes arrays of some of these tensors, {name: tensor}, and reads only these from the file.
      metadata: those of a safetensors file; else {}.
    """

    root: object
    arrays: Callable[[Mapping[str, Any]], dict[str, np.ndarray]]
    metadata: dict[str, str]


def of_arrays(arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> Contents:
    """The contents of a file, or of a dict in memory, whose tensors are arrays already."""
    return Contents(arrays, dict, dict(metadata or {}))
