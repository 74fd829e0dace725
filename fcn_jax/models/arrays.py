"""Splits a model into a fixed structure and plain arrays by name, and merges the two again.

Compiled functions take and return these arrays, because `nnx.jit` would walk the model at every call.
"""

from collections.abc import Collection
from typing import Generic, TypeVar

import jax
from flax import nnx

from fcn_jax.errors import WrongTypeError
from fcn_jax.models.layers import Fixed

Arrays = dict[str, jax.Array]
"""{"backbone.layer1.0.conv1.kernel": array, ...}"""


Model = TypeVar("Model", bound=nnx.Module)


class Structure(Generic[Model]):
    """A model without its arrays. It can be pickled unless the model holds a lambda or a local function.

    Args:
      model: set to training or evaluation mode; merged models keep that mode.
      frozen: names of parameters that do not learn, and of batch statistics that stay; they are among the
        other arrays, and have no averages.
    """

    def __init__(self, model: Model, frozen: Collection[str] = ()):
        frozen = frozenset(frozen)
        learns = nnx.All(nnx.Param, lambda path, variable: _name(path) not in frozen)
        self.graph, params, rest = nnx.split(model, learns, ...)
        self.param_paths = {_name(path): path for path, _ in nnx.to_flat_state(params)}
        self.paths = self.param_paths | {_name(path): path for path, _ in nnx.to_flat_state(rest)}
        self.averaged = tuple(
            _name(path)
            for path, variable in (*nnx.to_flat_state(params), *nnx.to_flat_state(rest))
            if isinstance(variable, nnx.Param | nnx.BatchStat) and _name(path) not in frozen
        )

    def merge(self, arrays: Arrays) -> Model:
        """Builds the model from this structure and all its arrays."""
        nested = nnx.traversals.unflatten_mapping({path: arrays[name] for name, path in self.paths.items()})
        return nnx.merge(self.graph, nested)

    def split(self, model: nnx.Module) -> tuple[Arrays, Arrays]:
        """Returns the arrays of a model of this structure: the parameters, and all others."""
        arrays = {_name(path): variable[...] for path, variable in nnx.to_flat_state(nnx.state(model))}
        params = {name: arrays.pop(name) for name in self.param_paths}
        return params, arrays


def named_variables(model: nnx.Module) -> dict[str, nnx.Variable]:
    """Lists the variables that a weight file holds: parameters, fixed kernels and batch statistics.

    Returns:
      {"backbone.layer1.0.conv1.kernel": variable, ...}; the variables themselves, not copies.

    Raises:
      WrongTypeError: not a model.
    """
    if not isinstance(model, nnx.Module):
        raise WrongTypeError(
            expected="a model, an nnx.Module", got=type(model).__name__, hint="the model comes first"
        )
    return {
        _name(path): node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, (nnx.Param, nnx.BatchStat, Fixed))
    }


def fill_model(model: nnx.Module, arrays: Arrays) -> None:
    """Sets variables of a model by name; variables without an array keep their values."""
    for path, variable in nnx.iter_graph(model):
        name = _name(path)
        if isinstance(variable, nnx.Variable) and name in arrays:
            variable.set_value(arrays[name])


def _name(path: tuple) -> str:
    return ".".join(map(str, path))
