"""The account of a load: what came is used or dropped, what is wanted is filled or fresh."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from weights_converter.errors import CheckpointError

FLOATS = tuple(np.dtype(name) for name in ("float16", ml_dtypes.bfloat16, "float32", "float64"))
_SHOWN = 40  # names listed per complaint; a checkpoint of another architecture would fill pages


@dataclass(frozen=True, repr=False)
class Account:
    """What became of every array that came, and of every array that was wanted.

    Attributes:
      loaded: names of what was filled.
      dropped: {name of what came: why it was not used}.
      fresh: {name of what was wanted: why it was not filled}.
    """

    loaded: tuple[str, ...]
    dropped: dict[str, str]
    fresh: dict[str, str]

    def __repr__(self) -> str:
        return f"Account({len(self.loaded)} loaded, {len(self.dropped)} dropped, {len(self.fresh)} fresh)"


def settle(
    wanted: Mapping[str, tuple[int, ...]], came: Mapping[str, np.ndarray], what: str, *, strict: bool = True
) -> Account:
    """Compares the arrays that came with the shapes that are wanted.

    Args:
      wanted: {name: shape}.
      came: {name: array}.
      what: the network that wants them, in words, for the message.
      strict: missing and unexpected arrays are an error too, rather than fresh and dropped.

    Raises:
      CheckpointError: an array is of another shape or not of a float dtype; or see `strict`. All that is
        amiss is named in one message.
    """
    missing = [name for name in wanted if name not in came]
    unexpected = [name for name in came if name not in wanted]
    mismatched = [
        f"{name}: expected float {shape}, got {came[name].dtype} {came[name].shape}"
        for name, shape in wanted.items()
        if name in came and (came[name].shape != shape or came[name].dtype not in FLOATS)
    ]
    complaints = [("of another shape or dtype", mismatched)]
    if strict:
        complaints = [("missing", missing), ("unexpected", unexpected), *complaints]
    lines = [_complaint(label, names) for label, names in complaints if names]
    if lines:
        raise CheckpointError("\n  ".join([f"the tensors are not those of {what}:", *lines]))
    return Account(
        loaded=tuple(name for name in wanted if name in came),
        dropped=dict.fromkeys(unexpected, "strict=False: no place for it"),
        fresh=dict.fromkeys(missing, "strict=False: not in the file"),
    )


def _complaint(label: str, names: Iterable[str]) -> str:
    names = list(names)
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{label} ({len(names)}): {', '.join(names[:_SHOWN])}{more}"
