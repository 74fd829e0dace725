"""Published weights: what there is, and how a file of them gets here unharmed."""

from fcn_jax.weights.api import Weights, WeightsEnum
from fcn_jax.weights.cache import cache_folder
from fcn_jax.weights.catalog import (
    FCN_ResNet50_Weights,
    FCN_ResNet101_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    get_model_weights,
    get_weight,
)
from fcn_jax.weights.download import WeightsDownloadError, fetch

__all__ = [
    "FCN_ResNet50_Weights",
    "FCN_ResNet101_Weights",
    "ResNet50_Weights",
    "ResNet101_Weights",
    "Weights",
    "WeightsDownloadError",
    "WeightsEnum",
    "cache_folder",
    "fetch",
    "get_model_weights",
    "get_weight",
]
