"""Builders of torchvision's two FCNs.

Source: the builders of `torchvision.models.segmentation.fcn`, with one difference: `weights_backbone` is
None by default, so nothing is downloaded unless an argument names published weights.
"""

from typing import Any, cast

import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.fcn import FCN
from fcn_jax.weights import WeightsEnum
from fcn_jax.weights.adaptation import Adapt
from fcn_jax.zoo.build import build
from fcn_jax.zoo.table import MODELS
from weights_converter import Source


def _builder(name: str):
    """Makes the builder of one model: both take the same arguments."""

    def builder(
        *,
        weights: WeightsEnum | Source | None = None,
        progress: bool = True,
        num_classes: int | None = None,
        aux_loss: bool | None = None,
        in_channels: int | None = None,
        adapt: Adapt = "mean",
        weights_backbone: WeightsEnum | Source | None = None,
        rngs: nnx.Rngs | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        strict: bool = True,
        key: str | None = None,
    ) -> FCN:
        model = build(
            MODELS[name],
            {"num_classes": num_classes, "aux_loss": aux_loss, "in_channels": in_channels},
            weights=weights,
            weights_backbone=weights_backbone,
            adapt=adapt,
            progress=progress,
            rngs=rngs,
            dtype=dtype,
            param_dtype=param_dtype,
            strict=strict,
            key=key,
        )
        return cast(FCN, model)  # the table names this class

    builder.__name__ = builder.__qualname__ = name
    return builder


fcn_resnet50 = _builder("fcn_resnet50")
fcn_resnet50.__doc__ = """Builds the FCN on ResNet-50, in evaluation mode.

Args:
  weights: published weights, downloaded once, as a member of `FCN_ResNet50_Weights` or by name ("DEFAULT");
    or the path of a checkpoint; or {name: array}, a state_dict in memory; or None for random weights from
    torchvision's distributions.
  progress: shows a bar while downloading.
  num_classes: as in `weights`, else 21, if not given; 1 is one logit, foreground against background.
  in_channels: channels of the images; as in `weights`, else 3, if not given. Weights for three channels are
    adapted to others.
  adapt: how: "mean" or "zero", see `fcn_jax.weights.adaptation`; "require" refuses to.
  aux_loss: adds the auxiliary head; as in `weights`, else False, if not given.
  weights_backbone: weights of the backbone alone, from `ResNet50_Weights` or a classifier's checkpoint.
    Ignored if `weights` is given.
  rngs: seeds the random weights and dropout; `nnx.Rngs(0)` if not given.
  dtype: of the computation; that of the parameters and the input if not given. Logits are at least float32.
  param_dtype: of the parameters.
  strict, key: of the checkpoint in `weights`; see `fcn_jax.load_model`.

Returns:
  A model that maps images (N, H, W, in_channels) to {"out": logits (N, H, W, num_classes)}; the auxiliary
  head adds "aux". Its `transforms` prepare a picture for it; its `categories` are those of its weights, or
  None.

Raises:
  SettingError: `num_classes` or `aux_loss` contradicts the weights, or `weights` is neither a file nor a
    known name.
  WrongTypeError: `weights` belongs to another model.
  CheckpointError: the checkpoint cannot be read or belongs to another architecture.
  WeightsDownloadError: the published file cannot be downloaded; the message says what to do.

Source: `torchvision.models.segmentation.fcn_resnet50`.
"""

fcn_resnet101 = _builder("fcn_resnet101")
fcn_resnet101.__doc__ = """Builds the FCN on ResNet-101, in evaluation mode.

Arguments, result and errors: see `fcn_resnet50`.

Source: `torchvision.models.segmentation.fcn_resnet101`.
"""
