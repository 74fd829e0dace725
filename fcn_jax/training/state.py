"""The state that training changes, as plain arrays by name."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from fcn_jax.models.arrays import Arrays, Structure


class TrainState(NamedTuple):
    """All that a run needs to resume exactly.

    Attributes:
      step: () int32, how many steps have been made.
      params: what the optimizer changes, by dotted name.
      rest: the model's other arrays: batch statistics, fixed kernels and frozen parameters, the random
        streams of dropout.
      moments: the optimizer's state.
      average: exponential moving averages of `params` and of the batch statistics, by name; may be {}.
    """

    step: jax.Array
    params: Arrays
    rest: Arrays
    moments: Any
    average: Arrays


def create_state(
    model: nnx.Module,
    optimizer: optax.GradientTransformation,
    *,
    structure: Structure | None = None,
    average: bool = False,
) -> TrainState:
    """Makes the state at step 0, from copies of the model's arrays.

    Args:
      structure: of the model, if some of its parameters are frozen.
      average: keep moving averages, which start at the model's own arrays.
    """
    structure = structure or Structure(model)
    params, rest = (jax.tree.map(jnp.copy, part) for part in structure.split(model))
    averages = {name: jnp.copy((params | rest)[name]) for name in structure.averaged} if average else {}
    return TrainState(jnp.zeros((), jnp.int32), params, rest, optimizer.init(params), averages)


def evaluated_arrays(state: TrainState) -> Arrays:
    """Returns the arrays to evaluate and to save: the averages where there are any."""
    return state.params | state.rest | state.average
