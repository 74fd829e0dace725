"""The paper's networks by name: FCN-32s, 16s, 8s and 8s-at-once on VGG16, FCN-32s on CaffeNet.

Source: Long, Shelhamer, Darrell (2015); Shelhamer, Long, Darrell (2016); the authors' released nets.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx

from fcn_jax.checkpoints import Source
from fcn_jax.models.skip_fcn import VARIANTS, LearnUpsampling, SkipFCN, create
from fcn_jax.weights import WeightsEnum, get_model_weights
from fcn_jax.zoo.build import Recipe, build
from weights_converter.tables.layer import Architecture


def _decided(architecture: Architecture) -> dict[str, Any]:
    *features, fc_features = architecture.widths
    return {
        "num_classes": architecture.num_classes,
        "features": tuple(features),
        "fc_features": fc_features,
    }


def _recipe(name: str, backbone: str) -> Recipe:
    return Recipe(
        name=name,
        create=partial(create, VARIANTS[name]),
        decided=_decided,
        published={"num_classes": 21},
        weights=get_model_weights(name),
        weights_backbone=get_model_weights(backbone),
    )


RECIPES = {name: _recipe(name, "caffenet" if name == "fcn32s_alexnet" else "vgg16") for name in VARIANTS}


def fcn32s_vgg16(
    *,
    weights: WeightsEnum | Source | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    features: tuple[int, ...] | None = None,
    fc_features: int | None = None,
    learn_upsampling: LearnUpsampling = "none",
    weights_backbone: WeightsEnum | Source | None = None,
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> SkipFCN:
    """Builds FCN-32s on VGG16, in evaluation mode: one upsampling by 32, no skips.

    Args:
      weights: a member of the model's enum or its name ("DEFAULT"), the authors' file; or the path of a
        checkpoint: a `.caffemodel`, the PyTorch port's `.pth`, `.safetensors`; or {name: array} in memory; or
        None. The file of the next coarser network starts this one's training: the layers that both have are
        copied, the new score layer is zero.
      progress: shows a bar while downloading.
      num_classes: 21 if not given, or as many as `weights` have.
      features: channels of the trunk's five blocks, for small instances; as published if not given.
      fc_features: channels of fc6 and fc7; 4096 if not given.
      learn_upsampling: "none", as released: every upsampling stays bilinear; "intermediate", as in the CVPR
        text: all but the last learn.
      weights_backbone: an ImageNet classifier's checkpoint for the trunk, fc6 and fc7: a member of the
        trunk's enum, a Caffe or a torchvision file. Ignored if `weights` are given.
      rngs: seeds the random trunk and dropout; `nnx.Rngs(0)` if not given.
      dtype: of the computation; the parameters' and the input's if not given. Logits are at least float32.
      param_dtype: of the parameters.

    Returns:
      A model that maps images (N, H, W, 3) to {"out": logits (N, H, W, num_classes)}. Its `transforms`
      prepare a picture for it: BGR minus mean, unless its weights came from torchvision.

    Raises:
      ValueError: `num_classes` or a width contradicts the weights, or `weights` names nothing.
      TypeError: `weights` of another model.
      CheckpointError: the file cannot be read or is of another architecture.
      WeightsDownloadError: the published file cannot be had; the message says what to do.

    Source: the authors' voc-fcn32s.
    """
    return _build("fcn32s_vgg16", **locals())


def fcn16s_vgg16(
    *,
    weights: WeightsEnum | Source | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    features: tuple[int, ...] | None = None,
    fc_features: int | None = None,
    learn_upsampling: LearnUpsampling = "none",
    weights_backbone: WeightsEnum | Source | None = None,
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> SkipFCN:
    """Builds FCN-16s on VGG16, in evaluation mode: pool4 adds detail. All else as in `fcn32s_vgg16`.

    Source: the authors' voc-fcn16s.
    """
    return _build("fcn16s_vgg16", **locals())


def fcn8s_vgg16(
    *,
    weights: WeightsEnum | Source | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    features: tuple[int, ...] | None = None,
    fc_features: int | None = None,
    learn_upsampling: LearnUpsampling = "none",
    weights_backbone: WeightsEnum | Source | None = None,
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> SkipFCN:
    """Builds FCN-8s on VGG16, in evaluation mode: pool4 and pool3 add detail. All else as in `fcn32s_vgg16`.

    Source: the authors' voc-fcn8s.
    """
    return _build("fcn8s_vgg16", **locals())


def fcn8s_atonce_vgg16(
    *,
    weights: WeightsEnum | Source | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    features: tuple[int, ...] | None = None,
    fc_features: int | None = None,
    learn_upsampling: LearnUpsampling = "none",
    weights_backbone: WeightsEnum | Source | None = None,
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> SkipFCN:
    """Builds FCN-8s with scaled skips, which is trained in one stage. All else as in `fcn32s_vgg16`.

    Source: the authors' voc-fcn8s-atonce.
    """
    return _build("fcn8s_atonce_vgg16", **locals())


def fcn32s_alexnet(
    *,
    weights: WeightsEnum | Source | None = None,
    progress: bool = True,
    num_classes: int | None = None,
    features: tuple[int, ...] | None = None,
    fc_features: int | None = None,
    learn_upsampling: LearnUpsampling = "none",
    weights_backbone: WeightsEnum | Source | None = None,
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> SkipFCN:
    """Builds FCN-32s on CaffeNet, in evaluation mode. All else as in `fcn32s_vgg16`.

    Source: the authors' voc-fcn-alexnet.
    """
    return _build("fcn32s_alexnet", **locals())


def _build(
    name: str, *, weights, weights_backbone, progress, rngs, num_classes, features, fc_features, **settings
):
    asked = {
        "num_classes": num_classes,
        "features": None if features is None else tuple(features),
        "fc_features": fc_features,
    }
    return build(
        RECIPES[name],
        asked,
        settings,
        weights=weights,
        weights_backbone=weights_backbone,
        progress=progress,
        rngs=rngs,
    )
