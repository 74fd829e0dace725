"""Small modules with random weights from NumPy: JAX would compile a generator for each shape, for seconds."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.models.layers import Fixed


def drawn(build: Callable[[], nnx.Module], as_created: tuple[str, ...] = ()) -> nnx.Module:
    """Makes the module with random weights and statistics, in evaluation mode; equal shapes, equal values.

    Args:
      as_created: prefixes of paths whose variables keep the values that `build` gives them.
    """

    def is_created(path, variable) -> bool:
        return isinstance(variable, nnx.RngState) or (
            bool(as_created) and ".".join(map(str, path)).startswith(as_created)
        )

    model = nnx.eval_shape(build)
    random = np.random.RandomState(0)
    for path, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param | Fixed) and not is_created(path, variable):
            deviation = math.sqrt(2 / math.prod(variable.shape[:-1])) if len(variable.shape) > 1 else 0.3
            values = random.standard_normal(variable.shape) * deviation
            if path[-1] == "scale":  # of a batch norm
                values = 0.7 + np.abs(values)
            variable.set_value(jnp.asarray(values, variable.dtype))
        elif isinstance(variable, nnx.BatchStat):
            values = random.standard_normal(variable.shape) * 0.3
            values = values if path[-1] == "mean" else 0.5 + np.abs(values)
            variable.set_value(jnp.asarray(values, variable.dtype))
    nnx.update(model, jax.jit(lambda: nnx.state(build(), is_created))())  # compiles nothing else
    model.eval()
    return model
