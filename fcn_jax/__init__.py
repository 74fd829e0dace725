"""Fully convolutional networks for semantic segmentation in JAX and Flax NNX.

model = fcn_jax.fcn_resnet50(weights="DEFAULT")
result = fcn_jax.Segmenter(model)("street.jpg")
result.save("masks")
"""

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.checkpoints import LoadReport, load_weights, save_weights
from fcn_jax.images import ImageError
from fcn_jax.inference import Segmentation, Segmenter
from fcn_jax.models import FCN, fcn_resnet50, fcn_resnet101, get_model, list_models
from fcn_jax.weights import (
    FCN_ResNet50_Weights,
    FCN_ResNet101_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    WeightsDownloadError,
    get_model_weights,
    get_weight,
)
from weights_converter import CheckpointError

__all__ = [
    "FCN",
    "VOC_CATEGORIES",
    "CheckpointError",
    "FCN_ResNet50_Weights",
    "FCN_ResNet101_Weights",
    "ImageError",
    "LoadReport",
    "ResNet50_Weights",
    "ResNet101_Weights",
    "Segmentation",
    "Segmenter",
    "WeightsDownloadError",
    "fcn_resnet50",
    "fcn_resnet101",
    "get_model",
    "get_model_weights",
    "get_weight",
    "list_models",
    "load_weights",
    "save_weights",
]
