"""Finds the state_dict in a checkpoint that no table recognizes: alone, or inside the dict of a training.

`weights_converter.finding` finds networks; this is the rule for all other tensors.
"""

import collections

from weights_converter.errors import CheckpointError
from weights_converter.readers.pickle_globals import is_module, whole_module
from weights_converter.readers.pickle_values import Inert, ModuleClass, Pairs, Tensor, kind_of, shown

# In order of preference. torchvision's training scripts write "model" (and "model_ema" beside it); the
# PyTorch port of the paper's networks writes "model_state_dict".
WRAPPERS = ("model", "state_dict", "model_state_dict")
MOST_NAMES = 8  # in one message


def find_tensors(root: object) -> dict[str, Tensor]:
    """Finds the state_dict in a checkpoint, in its own order.

    Args:
      root: the value of the file's pickle.

    Raises:
      CheckpointError: there is no state_dict, it is empty, or it holds more than tensors.
    """
    if isinstance(root, ModuleClass) or (isinstance(root, Inert) and is_module(root.name)):
        raise whole_module(root.name)
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
        some = ", ".join(
            f"{shown(name)} ({kind_of(value)})" for name, value in list(others.items())[:MOST_NAMES]
        )
        more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
        raise CheckpointError(
            f"its state_dict holds {len(others)} entries that cannot be read as tensors: {some}{more}"
            '. Save the state_dict alone, or under "model" or "state_dict"'
        )
    return tensors


def without_module_prefix(tensors: dict) -> dict:
    """Removes DataParallel's "module." from the names, if every name begins with it."""
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
            f"{where} holds a dict with keys that are not names, such as {shown(strange[0])}"
        )
    named = dict(value.pairs)
    if len(named) < len(value.pairs):
        twice, _ = collections.Counter(key for key, _ in value.pairs).most_common(1)[0]
        raise CheckpointError(f"{where} holds the name {shown(twice)} twice")
    return named
