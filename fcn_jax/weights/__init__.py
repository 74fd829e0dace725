"""Published weights and their download; loading and saving weights."""

from fcn_jax.weights.download.cache import cache_folder
from fcn_jax.weights.download.fetching import WeightsDownloadError, fetch
from fcn_jax.weights.published.catalog import get_model_weights, get_weight
from fcn_jax.weights.published.entry import Weights, WeightsEnum
from fcn_jax.weights.published.mmseg import (
    FCN_R18_D8_Weights,
    FCN_R50_D6_Weights,
    FCN_R50_D8_Weights,
    FCN_R101_D6_Weights,
    FCN_R101_D8_Weights,
)
from fcn_jax.weights.published.paper import (
    CaffeNet_Weights,
    FCN8s_AtOnce_VGG16_Weights,
    FCN8s_VGG16_Weights,
    FCN16s_VGG16_Weights,
    FCN32s_AlexNet_Weights,
    FCN32s_VGG16_Weights,
    VGG16_Weights,
)
from fcn_jax.weights.published.torchvision import (
    FCN_ResNet50_Weights,
    FCN_ResNet101_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
)

__all__ = [
    "CaffeNet_Weights",
    "FCN8s_AtOnce_VGG16_Weights",
    "FCN8s_VGG16_Weights",
    "FCN16s_VGG16_Weights",
    "FCN32s_AlexNet_Weights",
    "FCN32s_VGG16_Weights",
    "FCN_R18_D8_Weights",
    "FCN_R50_D6_Weights",
    "FCN_R50_D8_Weights",
    "FCN_R101_D6_Weights",
    "FCN_R101_D8_Weights",
    "FCN_ResNet50_Weights",
    "FCN_ResNet101_Weights",
    "ResNet50_Weights",
    "ResNet101_Weights",
    "VGG16_Weights",
    "Weights",
    "WeightsDownloadError",
    "WeightsEnum",
    "cache_folder",
    "fetch",
    "get_model_weights",
    "get_weight",
]
