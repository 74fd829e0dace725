"""What all builders share: from a name, a file or arrays to a model that is filled and ready.

Where weights decide something (how many classes, how wide, whether there is an auxiliary head) it is read
from their tensors, and a contradiction with what the caller asked for is an error that names both.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from fcn_jax.checkpoints import (
    Source,
    default_transforms,
    fill,
    load_backbone,
    named_variables,
    read_weights,
    reset,
    stated,
)
from fcn_jax.weights import WeightsEnum, fetch
from weights_converter import CheckpointError, Conversion
from weights_converter.engine import account, describe
from weights_converter.tables.layer import Architecture

# How to get what was asked for all the same, by the name of the argument.
ADVICE = {
    "num_classes": 'build without weights and use load_weights(model, path, head="replace")',
    "aux_loss": 'build without weights and use load_weights(model, path, aux="drop") or (..., aux="keep")',
}


class Recipe(NamedTuple):
    """What a builder knows of its model.

    Attributes:
      name: of the model.
      create: makes it with random weights from keyword arguments: those that `decided` names, `rngs` and any
        more settings of the builder.
      decided: tells the arguments that weights of an architecture decide.
      published: the same of the published weights, known before they are fetched.
      weights, weights_backbone: the published weights of the model and of its backbone.
    """

    name: str
    create: Callable[..., nnx.Module]
    decided: Callable[[Architecture], dict[str, Any]]
    published: dict[str, Any]
    weights: type[WeightsEnum]
    weights_backbone: type[WeightsEnum]


def build(
    recipe: Recipe,
    asked: dict[str, Any],
    settings: dict[str, Any],
    *,
    weights: WeightsEnum | Source | None,
    weights_backbone: WeightsEnum | Source | None,
    progress: bool,
    rngs: nnx.Rngs | None,
) -> nnx.Module:
    """Builds a model in evaluation mode, with the `transforms` and `categories` that its weights came with.

    Args:
      recipe: of the model.
      asked: the arguments that weights decide, None where the caller left them open.
      settings: further arguments for `recipe.create`.

    The rest, and the errors, are those of the builders.
    """
    rngs = nnx.Rngs(0) if rngs is None else rngs
    asked = {name: value for name, value in asked.items() if value is not None}
    weights = _verify("weights", weights, recipe.weights)
    preset, categories = None, None
    if weights is not None:
        if isinstance(weights, WeightsEnum):  # known without the file: a contradiction costs no download
            _check_asked(asked, recipe.published, repr(weights))
            categories = weights.meta["categories"]
        conversion = read_weights(_fetched(weights, progress), model_name=recipe.name)
        decided = recipe.decided(conversion.architecture)
        _check_asked(asked, decided, describe(conversion.architecture))
        model = _filled(partial(recipe.create, **decided, **settings), conversion, rngs)
        preset = conversion.preset
        model.transforms, model.categories = stated(conversion)
        model.categories = model.categories or categories
    else:
        model = recipe.create(rngs=rngs, **asked, **settings)
        backbone = _verify("weights_backbone", weights_backbone, recipe.weights_backbone)
        if backbone is not None:
            preset = load_backbone(model, _fetched(backbone, progress)).preset
    model.transforms = model.transforms or default_transforms(recipe.name, preset)
    model.eval()
    return model


def _filled(create: Callable[..., nnx.Module], conversion: Conversion, rngs: nnx.Rngs) -> nnx.Module:
    # Shapes without numbers, to be filled: drawing random weights first would take many times as long.
    model = nnx.eval_shape(lambda: create(rngs=_same_key()))
    variables = named_variables(model)
    wanted = {name: variable.shape for name, variable in variables.items() if name not in conversion.fresh}
    try:
        account(wanted, conversion.params).close(describe(conversion.architecture))
    except CheckpointError as error:
        raise CheckpointError(error.reason, conversion.path) from None
    fill({name: variables[name] for name in wanted}, conversion.params)
    reset({name: variables[name] for name in conversion.fresh})
    for _, module in nnx.iter_graph(model):
        if isinstance(module, nnx.Dropout):
            module.rngs = nnx.Dropout(module.rate, rngs=rngs).rngs
    return model


class _SameKey(nnx.RngStream):
    """For shapes alone: to count keys while tracing takes time with the square of the layers."""

    def __call__(self):
        return self.key[...]


def _same_key() -> nnx.Rngs:
    rngs = nnx.Rngs()
    rngs.default = _SameKey(0, tag="default")
    return rngs


def _check_asked(asked: dict[str, Any], has: dict[str, Any], what: str) -> None:
    for name, value in asked.items():
        if name in has and has[name] != value:
            advice = ADVICE.get(name, "build without weights")
            raise ValueError(
                f"{name}={value} was asked for, but {what} has {name}={has[name]}; "
                f"leave {name} out, or {advice}"
            )


def _verify(argument: str, weights, published: type[WeightsEnum]) -> WeightsEnum | Source | None:
    """Tells published weights, by member or by name, from a caller's own file or arrays."""
    if isinstance(weights, Mapping | Conversion | os.PathLike):
        return weights
    if (
        isinstance(weights, str)
        and weights.removeprefix(f"{published.__name__}.") not in published.__members__
    ):
        if not Path(weights).exists():
            raise ValueError(
                f"{argument}: there is no file {weights!r}; expected a checkpoint file, or the name of "
                f"published weights, one of {', '.join(published.__members__)}"
            )
        return weights
    return published.verify(weights)


def _fetched(weights: WeightsEnum | Source, progress: bool) -> Source:
    return fetch(weights, progress=progress) if isinstance(weights, WeightsEnum) else weights
