"""Freezes parts of a model: their parameters do not learn, and their batch norms keep their statistics.

A frozen parameter is a constant of the loss. From the image up to the first part that learns, the backward
pass then has nothing to compute.
"""

import logging
from collections.abc import Collection, Sequence

from flax import nnx

from fcn_jax.errors import SettingError
from fcn_jax.models.arrays import named_variables
from fcn_jax.models.layers import BatchNorm

logger = logging.getLogger(__name__)


def frozen_names(model: nnx.Module, prefixes: Sequence[str], loaded: Collection[str]) -> frozenset[str]:
    """Chooses the parameters and batch statistics that stay as they are.

    A parameter that no file filled is random, so it learns although its part is frozen; the log names it.

    Args:
      model: the model to train.
      prefixes: beginnings of names.
      loaded: names of the variables that a file filled.

    Raises:
      SettingError: no name begins so, what begins so is all random, or nothing would be left to learn.
    """
    variables = named_variables(model)
    frozen: set[str] = set()
    for prefix in prefixes:
        named = [name for name in variables if name.startswith(prefix)]
        if not named:
            parts = dict.fromkeys(name.split(".")[0] for name in variables)
            raise SettingError(
                subject="freeze",
                expected=f"the beginning of a name, such as {', '.join(parts)}, or {next(iter(variables))}",
                got=repr(prefix),
            )
        if not any(name in loaded for name in named):
            raise SettingError(
                f"{prefix} is random: no file filled it",
                subject="freeze",
                hint="give {weights} or {weights_backbone}, or leave it out",
            )
        fresh = [name.rpartition(".")[0] for name in named if name not in loaded]
        if fresh:
            logger.warning(
                "freeze %s: random, so learned all the same: %s", prefix, ", ".join(dict.fromkeys(fresh))
            )
        frozen |= {name for name in named if name in loaded}
    learning = [name for name, variable in variables.items() if isinstance(variable, nnx.Param)]
    if frozen.issuperset(learning):
        raise SettingError("every parameter would be frozen", subject="freeze", hint="freeze fewer parts")
    return frozenset(frozen)


def hold_statistics(model: nnx.Module, frozen: Collection[str]) -> None:
    """Sets the batch norms whose scale is frozen to evaluation mode, in a model in training mode."""
    for path, module in nnx.iter_modules(model):
        if isinstance(module, BatchNorm) and ".".join(map(str, (*path, "scale"))) in frozen:
            module.use_running_average = True
