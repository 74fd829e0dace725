"""torchvision's two FCNs by name.

Source: `torchvision.models.segmentation.fcn`, whose builders these follow but for one point: nothing touches
the network unless `weights` or `weights_backbone` names published weights; `weights_backbone` is None by
default.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx

from fcn_jax.checkpoints import Source
from fcn_jax.models.checks import check_num_classes
from fcn_jax.models.fcn import FCN
from fcn_jax.models.heads import FCNHead
from fcn_jax.models.resnet import ResNet
from fcn_jax.weights import (
    FCN_ResNet50_Weights,
    FCN_ResNet101_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    WeightsEnum,
)
from fcn_jax.zoo.build import Recipe, build
from weights_converter.tables.layer import Architecture


def create(
    blocks: tuple[int, int, int, int],
    *,
    num_classes: int = 21,
    aux_loss: bool = False,
    rngs: nnx.Rngs,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> FCN:
    """Makes an FCN on a ResNet of so many blocks, with random weights, in training mode.

    Raises:
      ValueError: fewer than one class.
    """
    check_num_classes(num_classes)
    settings = {"rngs": rngs, "dtype": dtype, "param_dtype": param_dtype}
    return FCN(
        ResNet(blocks, **settings),
        FCNHead(2048, num_classes, **settings),
        FCNHead(1024, num_classes, **settings) if aux_loss else None,
    )


def _decided(architecture: Architecture) -> dict[str, Any]:
    return {"num_classes": architecture.num_classes, "aux_loss": architecture.aux}


PUBLISHED = {"num_classes": 21, "aux_loss": True}
FCN_RESNET50 = Recipe(
    name="fcn_resnet50",
    create=partial(create, (3, 4, 6, 3)),
    decided=_decided,
    published=PUBLISHED,
    weights=FCN_ResNet50_Weights,
    weights_backbone=ResNet50_Weights,
)
FCN_RESNET101 = Recipe(
    name="fcn_resnet101",
    create=partial(create, (3, 4, 23, 3)),
    decided=_decided,
    published=PUBLISHED,
    weights=FCN_ResNet101_Weights,
    weights_backbone=ResNet101_Weights,
)
RECIPES = {recipe.name: recipe for recipe in (FCN_RESNET50, FCN_RESNET101)}


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
      A model that maps images (N, H, W, 3) to {"out": logits (N, H, W, num_classes)}, and "aux" alike. Its
      `transforms` prepare a picture for it; its `categories` are those its weights came with, or None.

    Raises:
      ValueError: `num_classes` or `aux_loss` contradicts the weights, or `weights` names nothing.
      TypeError: `weights` of another model.
      CheckpointError: the file cannot be read or is of another architecture.
      WeightsDownloadError: the published file cannot be had; the message says what to do.

    Source: `torchvision.models.segmentation.fcn_resnet50`.
    """
    return build(
        FCN_RESNET50,
        {"num_classes": num_classes, "aux_loss": aux_loss},
        {"dtype": dtype, "param_dtype": param_dtype},
        weights=weights,
        weights_backbone=weights_backbone,
        progress=progress,
        rngs=rngs,
    )


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
    return build(
        FCN_RESNET101,
        {"num_classes": num_classes, "aux_loss": aux_loss},
        {"dtype": dtype, "param_dtype": param_dtype},
        weights=weights,
        weights_backbone=weights_backbone,
        progress=progress,
        rngs=rngs,
    )
