"""The models by name, with or without weights.

Source: `torchvision.models.segmentation.fcn`, whose builders these follow but for one point: nothing touches
  the
network unless `weights` or `weights_backbone` names published weights; `weights_backbone` is None by default.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx

from fcn_jax.checkpoints import Source, fill, load_backbone, named_variables, read_weights, source_name
from fcn_jax.models.fcn import FCN
from fcn_jax.models.heads import FCNHead
from fcn_jax.models.resnet import ResNet
from fcn_jax.weights import (
    FCN_ResNet50_Weights,
    FCN_ResNet101_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    WeightsEnum,
    fetch,
)
from weights_converter import CheckpointError
from weights_converter.engine import describe

DEFAULT_CLASSES = 21


class Variant(NamedTuple):
    """What tells one FCN on a ResNet from another."""

    name: str
    blocks: tuple[int, int, int, int]
    weights: type[WeightsEnum]
    weights_backbone: type[WeightsEnum]


FCN_RESNET50 = Variant("fcn_resnet50", (3, 4, 6, 3), FCN_ResNet50_Weights, ResNet50_Weights)
FCN_RESNET101 = Variant("fcn_resnet101", (3, 4, 23, 3), FCN_ResNet101_Weights, ResNet101_Weights)


def fcn_resnet50(
    *,
    weights: WeightsEnum | Source | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    aux_loss: bool | None = None,
    weights_backbone: WeightsEnum | Source | None = None,
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> FCN:
    """Builds the FCN on ResNet-50, in evaluation mode.

    Args:
      weights: a member of `FCN_ResNet50_Weights` or its name ("DEFAULT"), which downloads the published file
        once; or the path of a checkpoint; or {name: array}, a state_dict in memory; or None for random
        weights from torchvision's distributions.
      progress: shows a bar while downloading.
      num_classes: 21 if not given, or as many as `weights` have.
      aux_loss: adds the auxiliary head; off if not given, or as `weights` have it.
      weights_backbone: the same choice for the backbone alone, from `ResNet50_Weights` or a classifier's
        checkpoint. Ignored if `weights` are given.
      rngs: seeds the random weights and dropout; `nnx.Rngs(0)` if not given.
      dtype: of the computation; the parameters' and the input's if not given. Logits are at least float32.
      param_dtype: of the parameters.

    Returns:
      A model that maps images (N, H, W, 3) to {"out": logits (N, H, W, num_classes)}, and "aux" alike.

    Raises:
      ValueError: `num_classes` or `aux_loss` contradicts the weights, or `weights` names nothing.
      TypeError: `weights` of another model.
      CheckpointError: the file cannot be read or is of another architecture.
      WeightsDownloadError: the published file cannot be had; the message says what to do.

    Source: `torchvision.models.segmentation.fcn_resnet50`.
    """
    settings = {"dtype": dtype, "param_dtype": param_dtype}
    return _build(FCN_RESNET50, weights, progress, num_classes, aux_loss, weights_backbone, rngs, settings)


def fcn_resnet101(
    *,
    weights: WeightsEnum | Source | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    aux_loss: bool | None = None,
    weights_backbone: WeightsEnum | Source | None = None,
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> FCN:
    """Builds the FCN on ResNet-101, in evaluation mode. All else as in `fcn_resnet50`.

    Source: `torchvision.models.segmentation.fcn_resnet101`.
    """
    settings = {"dtype": dtype, "param_dtype": param_dtype}
    return _build(FCN_RESNET101, weights, progress, num_classes, aux_loss, weights_backbone, rngs, settings)


BUILDERS: dict[str, Callable[..., nnx.Module]] = {
    "fcn_resnet50": fcn_resnet50,
    "fcn_resnet101": fcn_resnet101,
}


def list_models() -> list[str]:
    """Lists the names that `get_model` knows."""
    return list(BUILDERS)


def get_model(name: str, **config: Any) -> nnx.Module:
    """Builds a model by its name; `config` goes to the builder.

    Raises:
      ValueError: no model has this name; the message lists those that exist.
    """
    if name not in BUILDERS:
        raise ValueError(f"expected a model's name, one of {', '.join(BUILDERS)}; got {name!r}")
    return BUILDERS[name](**config)


def _build(
    variant: Variant,
    weights,
    progress,
    num_classes,
    aux_loss,
    weights_backbone,
    rngs,
    settings: dict[str, Any],
) -> FCN:
    rngs = rngs or nnx.Rngs(0)
    weights = _verify(weights, variant.weights)
    if weights is None:
        num_classes = DEFAULT_CLASSES if num_classes is None else num_classes
        model = _create(variant, num_classes, bool(aux_loss), rngs, settings)
        backbone = _verify(weights_backbone, variant.weights_backbone)
        if backbone is not None:
            load_backbone(model, _fetched(backbone, progress))
    else:
        if isinstance(weights, WeightsEnum):  # known without the file: a contradiction costs no download
            _check_asked(num_classes, aux_loss, len(weights.meta["categories"]), True, repr(weights))
        source = _fetched(weights, progress)
        model = _create_filled(variant, source, num_classes, aux_loss, rngs, settings)
    model.eval()
    return model


def _create(variant: Variant, num_classes: int, aux: bool, rngs: nnx.Rngs, settings: dict[str, Any]) -> FCN:
    if num_classes < 1:
        raise ValueError(f"expected num_classes of at least 1, got {num_classes}")
    return FCN(
        ResNet(variant.blocks, rngs=rngs, **settings),
        FCNHead(2048, num_classes, rngs=rngs, **settings),
        FCNHead(1024, num_classes, rngs=rngs, **settings) if aux else None,
    )


def _create_filled(
    variant: Variant, source: Source, num_classes, aux_loss, rngs, settings: dict[str, Any]
) -> FCN:
    conversion = read_weights(source)
    found = conversion.architecture
    if found.model_name != variant.name:
        raise CheckpointError(
            f"expected weights of {variant.name}, got {describe(found)}", source_name(source)
        )
    _check_asked(num_classes, aux_loss, found.num_classes, found.aux, describe(found))
    # Shapes without numbers, to be filled: drawing random weights first would take many times as long.
    model = nnx.eval_shape(lambda: _create(variant, found.num_classes, found.aux, nnx.Rngs(0), settings))
    fill(named_variables(model), conversion.params)
    for _, module in nnx.iter_graph(model):
        if isinstance(module, nnx.Dropout):
            module.rngs = nnx.Dropout(module.rate, rngs=rngs).rngs
    return model


def _check_asked(num_classes, aux_loss, has_classes: int, has_aux: bool, what: str) -> None:
    if num_classes not in (None, has_classes):
        raise ValueError(
            f"num_classes={num_classes} was asked for, but {what} has {has_classes} classes; leave "
            'num_classes out, or build without weights and use load_weights(model, path, head="replace")'
        )
    if aux_loss not in (None, has_aux):
        has, choice = ("has an", "drop") if has_aux else ("has no", "keep")
        raise ValueError(
            f"aux_loss={aux_loss} was asked for, but {what} {has} aux_classifier; leave aux_loss out, or "
            f'build without weights and use load_weights(model, path, aux="{choice}")'
        )


def _verify(weights, published: type[WeightsEnum]) -> WeightsEnum | Source | None:
    """Tells published weights, by member or by name, from a caller's own file or arrays."""
    if isinstance(weights, Mapping | os.PathLike):
        return weights
    if (
        isinstance(weights, str)
        and weights.removeprefix(f"{published.__name__}.") not in published.__members__
    ):
        if not Path(weights).exists():
            raise ValueError(
                f"weights: expected the name of published weights ({', '.join(published.__members__)}) or a "
                f"checkpoint file; got {weights!r}, which is neither"
            )
        return weights
    return published.verify(weights)


def _fetched(weights: WeightsEnum | Source, progress: bool) -> Source:
    return fetch(weights, progress=progress) if isinstance(weights, WeightsEnum) else weights
