"""Fully convolutional networks for semantic segmentation in JAX and Flax NNX.

model = fcn_jax.fcn_resnet50(weights="DEFAULT")
result = fcn_jax.Segmenter(model)("street.jpg")
result.save("masks")
"""

from importlib.metadata import PackageNotFoundError, version

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.errors import (
    ArrayError,
    BackendError,
    FCNError,
    MissingPackageError,
    OutOfMemoryError,
    SettingError,
    WrongTypeError,
)
from fcn_jax.images import ImageError
from fcn_jax.inference import Segmentation, Segmenter
from fcn_jax.meta import WeightsMeta, Window
from fcn_jax.models import FCN, Fixed, MMSegFCN, SegmentationModel, SkipFCN
from fcn_jax.onnx_export import OnnxError, export_int8_onnx, export_onnx
from fcn_jax.sharing import push_to_hub
from fcn_jax.weights import (
    CaffeNet_Weights,
    FCN8s_AtOnce_VGG16_Weights,
    FCN8s_VGG16_Weights,
    FCN16s_VGG16_Weights,
    FCN32s_AlexNet_Weights,
    FCN32s_VGG16_Weights,
    FCN_R18_D8_Weights,
    FCN_R50_D6_Weights,
    FCN_R50_D8_Weights,
    FCN_R101_D6_Weights,
    FCN_R101_D8_Weights,
    FCN_ResNet50_Weights,
    FCN_ResNet101_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    VGG16_Weights,
    WeightsDownloadError,
    get_model_weights,
    get_weight,
)
from fcn_jax.weights.hub import HubError
from fcn_jax.weights.loading import load_weights, save_weights
from fcn_jax.zoo import (
    fcn8s_atonce_vgg16,
    fcn8s_vgg16,
    fcn16s_vgg16,
    fcn32s_alexnet,
    fcn32s_vgg16,
    fcn_r18_d8,
    fcn_r50_d6,
    fcn_r50_d8,
    fcn_r101_d6,
    fcn_r101_d8,
    fcn_resnet50,
    fcn_resnet101,
    get_model,
    list_models,
    load_model,
)
from weights_converter import Account, CheckpointError, ModelSpec

try:
    __version__ = version("fcn_jax")
except PackageNotFoundError:  # run from its folder without an installation
    __version__ = "unknown"

__all__ = [
    "FCN",
    "VOC_CATEGORIES",
    "Account",
    "ArrayError",
    "BackendError",
    "CaffeNet_Weights",
    "CheckpointError",
    "FCN8s_AtOnce_VGG16_Weights",
    "FCN8s_VGG16_Weights",
    "FCN16s_VGG16_Weights",
    "FCN32s_AlexNet_Weights",
    "FCN32s_VGG16_Weights",
    "FCNError",
    "FCN_R18_D8_Weights",
    "FCN_R50_D6_Weights",
    "FCN_R50_D8_Weights",
    "FCN_R101_D6_Weights",
    "FCN_R101_D8_Weights",
    "FCN_ResNet50_Weights",
    "FCN_ResNet101_Weights",
    "Fixed",
    "HubError",
    "ImageError",
    "MMSegFCN",
    "MissingPackageError",
    "ModelSpec",
    "OnnxError",
    "OutOfMemoryError",
    "ResNet50_Weights",
    "ResNet101_Weights",
    "Segmentation",
    "SegmentationModel",
    "Segmenter",
    "SettingError",
    "SkipFCN",
    "VGG16_Weights",
    "WeightsDownloadError",
    "WeightsMeta",
    "Window",
    "WrongTypeError",
    "__version__",
    "export_int8_onnx",
    "export_onnx",
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
    "get_model_weights",
    "get_weight",
    "list_models",
    "load_model",
    "load_weights",
    "push_to_hub",
    "save_weights",
]
