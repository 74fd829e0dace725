"""Finds the tensors in what a checkpoint holds: a state_dict, alone or in a training checkpoint's wrapper."""

import collections

from weights_converter.errors import CheckpointError
from weights_converter.readers.pickle_values import Pairs, Tensor, kind_of, shown

# In order of preference; torchvision's training scripts write "model" (and "model_ema" beside it), those of
# the PyTorch port of the paper's networks "model_state_dict".
WRAPPERS = ("model", "state_dict", "model_state_dict")
MANY = 8  # names in one message


def find_tensors(root: object) -> dict[str, Tensor]:
    """Finds the state_dict in a checkpoint, in its own order.

    Args:
      root: what the file's pickle holds.

    Raises:
      CheckpointError: there is none, it is empty, or it holds other things than tensors; all are named.
    """
    entries = _named(root, "the file")
    for wrapper in WRAPPERS:
        if isinstance(entries.get(wrapper), Pairs):
            entries = _named(entries[wrapper], f'"{wrapper}"')
            break
    if not entries:
        raise CheckpointError("holds no tensors")
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    others = {name: value for name, value in entries.items() if name not in tensors}
    if others:
        some = ", ".join(f"{shown(name)} ({kind_of(value)})" for name, value in list(others.items())[:MANY])
        more = f" and {len(others) - MANY} more" if len(others) > MANY else ""
        raise CheckpointError(
            f"its state_dict holds {len(others)} entries that are no tensors this package reads: {some}{more}"
            '. Save the state_dict alone, or under "model" or "state_dict"'
        )
    return tensors


def without_module_prefix(tensors: dict) -> dict:
    """Takes away the "module." that DataParallel puts before every name, if it is before every name."""
    if not all(name.startswith("module.") for name in tensors):
        return tensors
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def _named(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, Pairs):
        raise CheckpointError(
            f"{where} holds a {kind_of(value)}, not a state_dict; save `model.state_dict()`"
        )
    strange = [key for key, _ in value.pairs if not isinstance(key, str)]
    if strange:
        raise CheckpointError(
            f"{where} holds a dict with keys that are no names, such as {shown(strange[0])}"
        )
    named = dict(value.pairs)
    if len(named) < len(value.pairs):
        twice, _ = collections.Counter(key for key, _ in value.pairs).most_common(1)[0]
        raise CheckpointError(f"{where} holds the name {shown(twice)} twice")
    return named
