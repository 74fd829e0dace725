"""Builders of mmsegmentation's FCNs.

Source: `configs/fcn` of mmsegmentation 1.2.2.
"""

from typing import Any, cast

import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.mmseg import MMSegFCN
from fcn_jax.weights import WeightsEnum
from fcn_jax.weights.adaptation import Adapt
from fcn_jax.zoo.build import build
from fcn_jax.zoo.table import MODELS
from weights_converter import Source
from weights_converter.spec import Stem


def _builder(name: str):
    """Makes the builder of one model: all take the same arguments."""

    def builder(
        *,
        weights: WeightsEnum | Source | None = None,
        progress: bool = True,
        num_classes: int | None = None,
        aux_loss: bool | None = None,
        stem: Stem | None = None,
        align_corners: bool | None = None,
        features: tuple[int, ...] | None = None,
        in_channels: int | None = None,
        adapt: Adapt = "mean",
        weights_backbone: WeightsEnum | Source | None = None,
        rngs: nnx.Rngs | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        strict: bool = True,
        key: str | None = None,
    ) -> MMSegFCN:
        asked = {
            "num_classes": num_classes,
            "aux_loss": aux_loss,
            "stem": stem,
            "align_corners": align_corners,
            "features": None if features is None else tuple(features),
            "in_channels": in_channels,
        }
        model = build(
            MODELS[name],
            asked,
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
        return cast(MMSegFCN, model)  # the table names this class

    builder.__name__ = builder.__qualname__ = name
    return builder


fcn_r50_d8 = _builder("fcn_r50_d8")
fcn_r50_d8.__doc__ = """Builds mmsegmentation's FCN on ResNet-50 of output stride 8, in evaluation mode.

Args:
  weights: published weights, downloaded once, as a member of `FCN_R50_D8_Weights` or by name
    ("CITYSCAPES_512X1024_80K"); or the path of mmsegmentation's checkpoint, of 0.x or 1.x, or of ours; or
    {name: array}, a state_dict in memory; or None for random weights.
  progress: shows a bar while downloading.
  num_classes: as in `weights`, else 19, Cityscapes', if not given.
  aux_loss: adds the auxiliary head; as in `weights`, else False, if not given.
  stem: "deep", three 3x3 convolutions ("V1c"), or "torchvision", one 7x7 ("R-50b"); as in `weights`, else
    "deep", if not given.
  align_corners: how logits are upsampled, True in the networks for 769x769. As the config in `weights` says,
    else False, if not given. A state_dict without a config does not say it: then it must be given.
  features: channels of the stem and of the four stages, for small networks; as published if not given.
  in_channels, adapt: see `fcn_resnet50`.
  weights_backbone: weights of the backbone alone, from `ResNet50_Weights` or a classifier's checkpoint; only
    with `stem="torchvision"`. Ignored if `weights` is given.
  rngs: seeds the random weights and dropout; `nnx.Rngs(0)` if not given.
  dtype: of the computation; that of the parameters and the input if not given. Logits are at least float32.
  param_dtype: of the parameters.
  strict, key: of the checkpoint in `weights`; see `fcn_jax.load_model`.

Returns:
  A model that maps images (N, H, W, 3) to {"out": logits (N, H, W, num_classes)}; the auxiliary head adds
  "aux". Its `transforms` prepare a picture as the weights' config says; its `categories` are those of its
  weights, or None.

Raises:
  SettingError: an argument contradicts the weights, or `weights` is neither a file nor a known name.
  WrongTypeError: `weights` belongs to another model.
  CheckpointError: the checkpoint cannot be read, belongs to another architecture, or does not say
    `align_corners`.
  WeightsDownloadError: the published file cannot be downloaded; the message says what to do.

Source: mmsegmentation's `fcn_r50-d8` and `fcn_r50b-d8`.
"""

fcn_r101_d8 = _builder("fcn_r101_d8")
fcn_r101_d8.__doc__ = """Builds mmsegmentation's FCN on ResNet-101 of output stride 8, in evaluation mode.

Arguments, result and errors: see `fcn_r50_d8`.

Source: mmsegmentation's `fcn_r101-d8` and `fcn_r101b-d8`.
"""

fcn_r50_d6 = _builder("fcn_r50_d6")
fcn_r50_d6.__doc__ = """Builds mmsegmentation's FCN-D6 on ResNet-50, in evaluation mode.

The backbone has output stride 16, and both heads have dilation 6.

Arguments, result and errors: see `fcn_r50_d8`.

Source: mmsegmentation's `fcn-d6_r50-d16` and `fcn-d6_r50b-d16`.
"""

fcn_r101_d6 = _builder("fcn_r101_d6")
fcn_r101_d6.__doc__ = """Builds mmsegmentation's FCN-D6 on ResNet-101, in evaluation mode.

Arguments, result and errors: see `fcn_r50_d8`.

Source: mmsegmentation's `fcn-d6_r101-d16` and `fcn-d6_r101b-d16`.
"""

fcn_r18_d8 = _builder("fcn_r18_d8")
fcn_r18_d8.__doc__ = """Builds mmsegmentation's FCN on ResNet-18 of output stride 8, in evaluation mode.

Arguments, result and errors: see `fcn_r50_d8`; there are no `weights_backbone`.

Source: mmsegmentation's `fcn_r18-d8` and `fcn_r18b-d8`.
"""
