"""Builders of the paper's networks: FCN-32s, 16s, 8s and 8s-at-once on VGG16, FCN-32s on CaffeNet.

Source: Long, Shelhamer, Darrell (2015); Shelhamer, Long, Darrell (2016); the authors' released nets.
"""

from typing import Any, cast

import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.skip_fcn import SkipFCN
from fcn_jax.weights import WeightsEnum
from fcn_jax.weights.adaptation import Adapt
from fcn_jax.zoo.build import build
from fcn_jax.zoo.table import MODELS
from weights_converter import Source
from weights_converter.spec import LearnUpsampling


def _builder(name: str):
    """Makes the builder of one network: all five take the same arguments."""

    def builder(
        *,
        weights: WeightsEnum | Source | None = None,
        progress: bool = True,
        num_classes: int | None = None,
        features: tuple[int, ...] | None = None,
        fc_features: int | None = None,
        in_channels: int | None = None,
        adapt: Adapt = "mean",
        learn_upsampling: LearnUpsampling | None = None,
        weights_backbone: WeightsEnum | Source | None = None,
        rngs: nnx.Rngs | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        strict: bool = True,
        key: str | None = None,
    ) -> SkipFCN:
        asked = {
            "num_classes": num_classes,
            "features": None if features is None else tuple(features),
            "fc_features": fc_features,
            "in_channels": in_channels,
            "learn_upsampling": learn_upsampling,
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
        return cast(SkipFCN, model)  # the table names this class

    builder.__name__ = builder.__qualname__ = name
    return builder


fcn32s_vgg16 = _builder("fcn32s_vgg16")
fcn32s_vgg16.__doc__ = """Builds FCN-32s on VGG16, in evaluation mode: one upsampling by 32, no skips.

Args:
  weights: published weights, the authors' file, as a member of the model's enum or by name ("DEFAULT"); or
    the path of a checkpoint (`.caffemodel`, the PyTorch port's `.pth`, `.safetensors`); or {name: array} in
    memory; or None. A checkpoint of the next coarser network starts this one's training: shared layers are
    copied, the new score layer is zero.
  progress: shows a bar while downloading.
  num_classes: as in `weights`, else 21, if not given; 1 is one logit, foreground against background.
  in_channels: channels of the images; as in `weights`, else 3, if not given. Weights for three channels are
    adapted to others.
  adapt: how: "mean" or "zero", see `fcn_jax.weights.adaptation`; "require" refuses to.
  features: channels of the backbone's five blocks, for small networks; as published if not given.
  fc_features: channels of fc6 and fc7; 4096 if not given.
  learn_upsampling: "none", as released: every upsampling stays bilinear; "intermediate", as in the CVPR
    text: all but the last are learned. As in the checkpoint, else "none", if not given.
  weights_backbone: an ImageNet classifier's weights for the backbone, fc6 and fc7: a member of the
    backbone's enum, a Caffe or a torchvision checkpoint. A VGG16 without fc6 and fc7 fills the convolutions;
    the log names what it lacks. Ignored if `weights` is given.
  rngs: seeds the random backbone and dropout; `nnx.Rngs(0)` if not given.
  dtype: of the computation; that of the parameters and the input if not given. Logits are at least float32.
  param_dtype: of the parameters.
  strict, key: of the checkpoint in `weights`; see `fcn_jax.load_model`.

Returns:
  A model that maps images (N, H, W, in_channels) to {"out": logits (N, H, W, num_classes)}. Its `transforms`
  prepare a
  picture for it: BGR minus mean, unless its weights came from torchvision.

Raises:
  SettingError: `num_classes` or a width contradicts the weights, or `weights` is neither a file nor a name.
  WrongTypeError: `weights` belongs to another model.
  CheckpointError: the checkpoint cannot be read or belongs to another architecture.
  WeightsDownloadError: the published file cannot be downloaded; the message says what to do.

Source: the authors' voc-fcn32s.
"""

fcn16s_vgg16 = _builder("fcn16s_vgg16")
fcn16s_vgg16.__doc__ = """Builds FCN-16s on VGG16, in evaluation mode: pool4 adds detail.

Arguments, result and errors: see `fcn32s_vgg16`.

Source: the authors' voc-fcn16s.
"""

fcn8s_vgg16 = _builder("fcn8s_vgg16")
fcn8s_vgg16.__doc__ = """Builds FCN-8s on VGG16, in evaluation mode: pool4 and pool3 add detail.

Arguments, result and errors: see `fcn32s_vgg16`.

Source: the authors' voc-fcn8s.
"""

fcn8s_atonce_vgg16 = _builder("fcn8s_atonce_vgg16")
fcn8s_atonce_vgg16.__doc__ = """Builds FCN-8s with scaled skips, which is trained in one stage.

Arguments, result and errors: see `fcn32s_vgg16`.

Source: the authors' voc-fcn8s-atonce.
"""

fcn32s_alexnet = _builder("fcn32s_alexnet")
fcn32s_alexnet.__doc__ = """Builds FCN-32s on CaffeNet, in evaluation mode.

Arguments, result and errors: see `fcn32s_vgg16`.

Source: the authors' voc-fcn-alexnet.
"""
