"""Builds models by name, with or without weights."""

import difflib
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from fcn_jax.errors import CheckpointError, SettingError
from fcn_jax.models.model import SegmentationModel
from fcn_jax.weights import WeightsEnum
from fcn_jax.weights.source import as_file
from fcn_jax.zoo.build import build_filled
from fcn_jax.zoo.mmseg import fcn_r18_d8, fcn_r50_d6, fcn_r50_d8, fcn_r101_d6, fcn_r101_d8
from fcn_jax.zoo.paper import fcn8s_atonce_vgg16, fcn8s_vgg16, fcn16s_vgg16, fcn32s_alexnet, fcn32s_vgg16
from fcn_jax.zoo.table import MODELS
from fcn_jax.zoo.torchvision import fcn_resnet50, fcn_resnet101
from weights_converter import Source, read_weights

BUILDERS: dict[str, Callable[..., SegmentationModel]] = {
    "fcn_resnet50": fcn_resnet50,
    "fcn_resnet101": fcn_resnet101,
    "fcn32s_vgg16": fcn32s_vgg16,
    "fcn16s_vgg16": fcn16s_vgg16,
    "fcn8s_vgg16": fcn8s_vgg16,
    "fcn8s_atonce_vgg16": fcn8s_atonce_vgg16,
    "fcn32s_alexnet": fcn32s_alexnet,
    "fcn_r50_d8": fcn_r50_d8,
    "fcn_r101_d8": fcn_r101_d8,
    "fcn_r50_d6": fcn_r50_d6,
    "fcn_r101_d6": fcn_r101_d6,
    "fcn_r18_d8": fcn_r18_d8,
}


def list_models() -> list[str]:
    """Lists the names that `get_model` knows."""
    return list(BUILDERS)


def get_model(name: str, **config: Any) -> SegmentationModel:
    """Builds a model by its name; `config` goes to the builder.

    Raises:
      SettingError: no model has this name; the message lists all names.
    """
    check_name(name)
    return BUILDERS[name](**config)


def load_model(
    path: WeightsEnum | Source,
    *,
    model_name: str | None = None,
    align_corners: bool | None = None,
    key: str | None = None,
    strict: bool = True,
    aux: Literal["require", "drop"] = "require",
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> SegmentationModel:
    """Builds the model that a checkpoint belongs to, and fills it; in evaluation mode.

    Args:
      path: a checkpoint file, or hf://user/repo, a name on the hub, or {name: array} in memory; or published
        weights, as a member of an enum or by full name.
      model_name: the model, where the file does not say which: "fcn8s_atonce_vgg16" for the PyTorch port's
        file; "fcn_r50_d8" or "fcn_r50_d6" for mmsegmentation's tensors without their config.
      align_corners: how logits are upsampled, where mmsegmentation's file does not say it.
      key: where the network is, if the file holds several: "model_ema".
      strict: missing and unexpected tensors are errors. Otherwise variables without a tensor get initial
        values, and tensors without a place are left out; the log says which.
      aux: "drop" leaves the file's auxiliary head out, which only training needs.
      rngs, dtype, param_dtype: as the builders take them.

    Raises:
      CheckpointError: the file cannot be read, belongs to a classifier or to another model than
        `model_name`, or holds several networks and there is no key.
      SettingError: no model has the name `model_name`, or `align_corners` contradicts the file.
    """
    if model_name is not None:
        check_name(model_name)
    names = BUILDERS if model_name is None else (model_name, MODELS[model_name].coarser)
    bare = isinstance(path, str) and "." not in path and model_name is None  # "DEFAULT" of which model?
    source, member = as_file(path, () if bare else names)
    conversion = read_weights(source, strict=strict, key=key, aux=aux)
    if conversion.spec.is_classifier:
        raise CheckpointError(
            expected=f"weights of a segmentation model, one of {', '.join(BUILDERS)}",
            got=str(conversion.spec),
            path=conversion.path,
        )
    if model_name is not None and MODELS[model_name].coarser == conversion.spec.name:
        raise CheckpointError(
            f"holds only start weights for the training of {model_name}",
            conversion.path,
            hint=f"leave {{model_name}} out to load it as {conversion.spec.name}, or train "
            f"fcn_jax.{model_name}(weights=...)",
        )
    if member is not None and align_corners is None:  # should the file not say it
        align_corners = bool(member.meta.get("spec", {}).get("align_corners", False))
    conversion = conversion.for_model(model_name).settled(align_corners)
    asked = {} if align_corners is None else {"align_corners": align_corners}
    model = build_filled(
        MODELS[conversion.spec.name],
        conversion,
        asked,
        strict=strict,
        rngs=rngs,
        dtype=dtype,
        param_dtype=param_dtype,
    )
    if member is not None and model.categories is None:
        model.update_meta(categories=member.meta["categories"])
    return model


def check_name(name: str) -> None:
    """Raises SettingError unless a model has this name; the message lists all names."""
    if name not in BUILDERS:
        near = difflib.get_close_matches(name, BUILDERS, n=1)
        raise SettingError(
            expected=f"a model's name, one of {', '.join(BUILDERS)}",
            got=repr(name),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )


__all__ = [
    "BUILDERS",
    "MODELS",
    "check_name",
    "fcn8s_atonce_vgg16",
    "fcn8s_vgg16",
    "fcn16s_vgg16",
    "fcn32s_alexnet",
    "fcn32s_vgg16",
    "fcn_r18_d8",
    "fcn_r50_d6",
    "fcn_r50_d8",
    "fcn_r101_d6",
    "fcn_r101_d8",
    "fcn_resnet50",
    "fcn_resnet101",
    "get_model",
    "list_models",
    "load_model",
]
