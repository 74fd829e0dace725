"""All published weights, by model."""

from collections.abc import Callable
from typing import Any

from fcn_jax.errors import SettingError
from fcn_jax.weights.published import mmseg, paper, torchvision
from fcn_jax.weights.published.entry import WeightsEnum

MODEL_WEIGHTS: dict[str, type[WeightsEnum]] = {
    "fcn_resnet50": torchvision.FCN_ResNet50_Weights,
    "fcn_resnet101": torchvision.FCN_ResNet101_Weights,
    "resnet50": torchvision.ResNet50_Weights,
    "resnet101": torchvision.ResNet101_Weights,
    "fcn32s_vgg16": paper.FCN32s_VGG16_Weights,
    "fcn16s_vgg16": paper.FCN16s_VGG16_Weights,
    "fcn8s_vgg16": paper.FCN8s_VGG16_Weights,
    "fcn8s_atonce_vgg16": paper.FCN8s_AtOnce_VGG16_Weights,
    "fcn32s_alexnet": paper.FCN32s_AlexNet_Weights,
    "fcn_r50_d8": mmseg.FCN_R50_D8_Weights,
    "fcn_r101_d8": mmseg.FCN_R101_D8_Weights,
    "fcn_r50_d6": mmseg.FCN_R50_D6_Weights,
    "fcn_r101_d6": mmseg.FCN_R101_D6_Weights,
    "fcn_r18_d8": mmseg.FCN_R18_D8_Weights,
    "vgg16": paper.VGG16_Weights,
    "caffenet": paper.CaffeNet_Weights,
}
"""{builder's name: enum of its published weights}."""


def get_model_weights(name: str | Callable[..., Any]) -> type[WeightsEnum]:
    """Returns the enum of a model's published weights.

    Args:
      name: the model's name, in any case, or its builder.

    Raises:
      SettingError: this model has no published weights; the message lists the models that have.
    """
    key = name.lower() if isinstance(name, str) else getattr(name, "__name__", repr(name))
    if key not in MODEL_WEIGHTS:
        raise SettingError(f"no weights are published for {key!r}, only for {', '.join(MODEL_WEIGHTS)}")
    return MODEL_WEIGHTS[key]


def get_weight(name: str) -> WeightsEnum:
    """Returns the weights with a full name, such as "FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1".

    Raises:
      SettingError: no weights have this name; the message lists all names.
    """
    enums = {weights.__name__: weights for weights in MODEL_WEIGHTS.values()}
    enum_name, _, member = name.partition(".")
    if enum_name not in enums or member not in enums[enum_name].__members__:
        known = ", ".join(f"{weights}.{entry}" for weights in enums for entry in enums[weights].__members__)
        raise SettingError(f"there are no weights {name!r}, only {known}")
    return enums[enum_name][member]
