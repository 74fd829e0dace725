"""The account of a load: which arrays were used, which were dropped, and which are missing."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from weights_converter.errors import CheckpointError

FLOATS = tuple(np.dtype(name) for name in ("float16", ml_dtypes.bfloat16, "float32", "float64"))
_SHOWN = 40  # names listed per problem; a checkpoint from another architecture would fill pages
NOT_STRICT = "{strict=False} leaves out what has no place, and leaves as it is what is missing"
# What other programs leave among the tensors of a network: numbers of steps, of averages, of operations.
COUNTERS = {
    *(
        "decay",
        "epoch",
        "global_step",
        "initted",
        "iteration",
        "iterations",
        "n_averaged",
        "num_batches_tracked",
    ),
    *("num_updates", "step", "steps", "total_ops", "total_params"),
}


@dataclass(frozen=True, repr=False)
class Account:
    """What became of every array in a checkpoint and of every variable in a model.

    Attributes:
      loaded: names of the variables that were filled.
      dropped: {array of the checkpoint: why it was not used}.
      fresh: {variable of the model: why it was not filled}.
    """

    loaded: tuple[str, ...]
    dropped: dict[str, str]
    fresh: dict[str, str]

    def __repr__(self) -> str:
        return f"Account({len(self.loaded)} loaded, {len(self.dropped)} dropped, {len(self.fresh)} fresh)"


def is_counter(name: str, array: np.ndarray) -> bool:
    """Whether an array is one number that counts something, which no network computes with."""
    if math.prod(array.shape) != 1:
        return False
    return name.rpartition(".")[2] in COUNTERS or np.dtype(array.dtype).kind in "iub"


def match_arrays(
    wanted: Mapping[str, tuple[int, ...]],
    arrays: Mapping[str, np.ndarray],
    what: str,
    *,
    strict: bool = True,
    hint: str | None = None,
) -> Account:
    """Compares the arrays of a checkpoint with the shapes that a network wants.

    Args:
      wanted: {name: shape}.
      arrays: {name: array}.
      what: the network, in words, for the message.
      strict: missing and unexpected arrays are errors; otherwise they are fresh and dropped.
      hint: what to do about missing and unexpected arrays, if no others are amiss.

    Raises:
      CheckpointError: an array has another shape or no float dtype; or see `strict`. One message names all
        problems.
    """
    missing = [name for name in wanted if name not in arrays]
    unexpected = [name for name in arrays if name not in wanted]
    mismatched = [
        f"{name}: expected float {shape}, got {arrays[name].dtype} {arrays[name].shape}"
        for name, shape in wanted.items()
        if name in arrays and (arrays[name].shape != shape or arrays[name].dtype not in FLOATS)
    ]
    problems = [("of another shape or dtype", mismatched)]
    if strict:
        problems = [("missing", missing), ("unexpected", unexpected), *problems]
    lines = [_line(label, names) for label, names in problems if names]
    if lines:
        raise CheckpointError(
            "\n  ".join([f"the tensors are not those of {what}:", *lines]), hint=None if mismatched else hint
        )
    return Account(
        loaded=tuple(name for name in wanted if name in arrays),
        dropped=dict.fromkeys(unexpected, "strict=False: no place for it"),
        fresh=dict.fromkeys(missing, "strict=False: not in the file"),
    )


def _line(label: str, names: Iterable[str]) -> str:
    names = list(names)
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{label} ({len(names)}): {', '.join(names[:_SHOWN])}{more}"
