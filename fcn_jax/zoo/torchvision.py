"""torchvision's two FCNs by name.

Source: the builders of `torchvision.models.segmentation.fcn`, with one difference: nothing touches the
network unless `weights` or `weights_backbone` names published weights, and `weights_backbone` is None by
default.
"""

from typing import Any, cast

import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.fcn import FCN
from fcn_jax.weights import WeightsEnum
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
        weights_backbone: WeightsEnum | Source | None = None,
        rngs: nnx.Rngs | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
    ) -> FCN:
        model = build(
            MODELS[name],
            {"num_classes": num_classes, "aux_loss": aux_loss},
            weights=weights,
            weights_backbone=weights_backbone,
            progress=progress,
            rngs=rngs,
            dtype=dtype,
            param_dtype=param_dtype,
        )
        return cast(FCN, model)  # as the table says

    builder.__name__ = builder.__qualname__ = name
    return builder


fcn_resnet50 = _builder("fcn_resnet50")
fcn_resnet50.__doc__ = """Builds the FCN on ResNet-50, in evaluation mode.

Args:
  weights: a member of `FCN_ResNet50_Weights` or its name ("DEFAULT"), which downloads the published file
    once; or the path of a checkpoint; or {name: array}, a state_dict in memory; or None for random weights
    from torchvision's distributions.
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
  `spec` says what it is; its `transforms` prepare a picture for it; its `categories` are those its weights
  came with, or None.

Raises:
  SettingError: `num_classes` or `aux_loss` contradicts the weights, or `weights` names nothing.
  WrongTypeError: `weights` of another model.
  CheckpointError: the file cannot be read or is of another architecture.
  WeightsDownloadError: the published file cannot be downloaded; the message says what to do.

Source: `torchvision.models.segmentation.fcn_resnet50`.
"""

fcn_resnet101 = _builder("fcn_resnet101")
fcn_resnet101.__doc__ = """Builds the FCN on ResNet-101, in evaluation mode. All else as in `fcn_resnet50`.

Source: `torchvision.models.segmentation.fcn_resnet101`.
"""
