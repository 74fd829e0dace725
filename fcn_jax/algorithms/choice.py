"""Chooses the algorithm of each layer. A choice changes rounding, never the function.

| layer, on a CPU                              | inference                      | training                   |
|----------------------------------------------|--------------------------------|----------------------------|
| 3x3, stride 1, same size, 256 or more inputs | Winograd, dilation as phases   | see the next row           |
| the same, 64 or more inputs and outputs      | XLA                            | Winograd, also backwards   |
| other 3x3, stride 1, on large maps           | XLA                            | kernel's gradient in bands |
| larger than 3x3, stride 1, unpadded: fc6     | a product, or one per row      | the same, also backwards   |
| 1x1, unpadded                                | one matrix product             | the same, also backwards   |
| VGG16's pooling                              | XLA                            | gradient by comparison     |
| ResNet's pooling                             | columns, then rows             | XLA                        |
| ReLU of sums in ResNet blocks                | a form that XLA computes once  | the same, also backwards   |
| first blocks of VGG16 and AlexNet            | the picture's region           | the same, without remat    |

- Winograd: below 256 channels its additions cost as much as its multiplications save. In training they save
  three times, so that it pays from 64 channels: 0.4 to 0.95 of the time of XLA with bands. On small maps the
  transformed kernel, four times as large, costs more than it saves, and XLA computes them.
- Bands: XLA's gradient of a kernel takes two to seven times as long on maps of 10,000 pixels or more, 1.1 to
  1.7 times at 3000, dilated or not; below 1000 it is as fast.
- A product per kernel row runs at two to five times the rate of the convolution; one product of the whole
  kernel at up to twice that, where there are few pixels. XLA's gradient of fc6's input, a convolution from
  4096 to 512 channels, takes a hundred times as long as the product.
- 1x1: XLA's gradient with respect to the kernel takes two to four times as long as that of the product.
- 1x1 and ReLU of sums: left to itself, XLA repeats the sums of all blocks before, and batch norm's gradient,
  in every product that reads them. A training step of fcn_resnet50 then takes 1.05 to 1.1 times as long.
- VGG16's pooling: XLA's gradient searches each window again, and takes ten times as long.
- ResNet's pooling in two directions takes 0.1 to 0.8 of the time.

- The region, see `region`: the constant around it and the frame depend on the weights, with gradients. A
  training step of FCN-8s on crops of 176x240 spends half the time in the first four blocks.

In inference the region is used on every platform. For the rest, on a GPU or TPU XLA computes everything: on
an H100 fcn_resnet50 takes 9.6 ms with 1x1 convolutions and 10.9 ms with products. On a CPU XLA also computes
half-precision convolutions larger than 1x1, since the algorithms here would add up too many rounding errors.
"""

import jax.numpy as jnp
from flax import nnx

from fcn_jax.algorithms.alexnet_region import AlexNetRegion
from fcn_jax.algorithms.gradients import (
    add_rectified_once_both_ways,
    convolve_by_product_both_ways,
    convolve_by_rows_both_ways,
    convolve_by_winograd_both_ways,
    convolve_with_kernel_bands,
    pool_by_comparison,
)
from fcn_jax.algorithms.layers import (
    SeparateMaxPool,
    add_rectified_once,
    convolve_by_product,
    convolve_by_rows,
    use_winograd,
)
from fcn_jax.algorithms.vgg_region import VGGRegion
from fcn_jax.models.alexnet import AlexNet
from fcn_jax.models.resnet import BasicBlock, Bottleneck, MaxPool
from fcn_jax.models.vgg import VGG16

REGIONS = {VGG16: VGGRegion, AlexNet: AlexNetRegion}
"""What computes the first blocks of a backbone only where the picture decides."""
WINOGRAD_CHANNELS = 256
"""Fewest input channels for which Winograd is faster in inference."""
WINOGRAD_CHANNELS_IN_TRAINING = 64
"""Fewest input, and fewest output, channels for which it is faster in training."""


def choose_for_inference(model: nnx.Module, platform: str) -> None:
    """Gives a model's layers the fastest algorithms for inference, in place.

    Args:
      model: do not train or save it afterwards, because some kernels are transformed.
      platform: "cpu", "gpu" or "tpu".
    """
    _use_regions(model)
    if platform != "cpu":
        return
    for _, module in list(nnx.iter_modules(model)):
        if isinstance(module, Bottleneck | BasicBlock):
            module.add = add_rectified_once
        for name, layer in list(vars(module).items()):
            if isinstance(layer, MaxPool):
                setattr(module, name, SeparateMaxPool())
            elif not isinstance(layer, nnx.Conv):
                continue
            elif _suits_winograd(layer) and layer.kernel.shape[2] >= WINOGRAD_CHANNELS:
                use_winograd(layer)
            elif _suits_rows(layer):
                layer.conv_general_dilated = convolve_by_rows
            elif _suits_product(layer):
                layer.conv_general_dilated = convolve_by_product


def choose_for_training(model: nnx.Module, platform: str) -> None:
    """Gives a model's layers the fastest algorithms for training, in place; its variables stay.

    Args:
      model: changed in place.
      platform: "cpu", "gpu" or "tpu".
    """
    if platform != "cpu":
        return
    _use_regions(model)
    for _, layer in nnx.iter_modules(model):
        if isinstance(layer, VGG16):
            layer.pool = pool_by_comparison
        elif isinstance(layer, Bottleneck | BasicBlock):
            layer.add = add_rectified_once_both_ways
        elif not isinstance(layer, nnx.Conv):
            continue
        elif _suits_product(layer):
            layer.conv_general_dilated = convolve_by_product_both_ways
        elif _suits_rows(layer):
            layer.conv_general_dilated = convolve_by_rows_both_ways
        elif _suits_winograd(layer) and min(layer.kernel.shape[2:]) >= WINOGRAD_CHANNELS_IN_TRAINING:
            layer.conv_general_dilated = convolve_by_winograd_both_ways
        elif _suits_bands(layer):
            layer.conv_general_dilated = convolve_with_kernel_bands


def _use_regions(model: nnx.Module) -> None:
    for _, module in list(nnx.iter_modules(model)):
        for backbone, blocks in REGIONS.items():
            if isinstance(module, backbone) and not getattr(module, "remat", False):
                blocks().replace(module)


def _suits_winograd(conv: nnx.Conv) -> bool:
    dilation = conv.kernel_dilation
    return (
        conv.kernel.shape[:2] == (3, 3)
        and _is_plain(conv)
        and isinstance(dilation, tuple)
        and len(set(dilation)) == 1
        and conv.padding == tuple((pixels, pixels) for pixels in dilation)
    )


def _suits_rows(conv: nnx.Conv) -> bool:
    return (
        min(conv.kernel.shape[:2]) > 3
        and _is_plain(conv)
        and conv.kernel_dilation in (1, (1, 1))
        and conv.padding == ((0, 0), (0, 0))
    )


def _suits_bands(conv: nnx.Conv) -> bool:
    return (
        conv.kernel.shape[:2] == (3, 3)
        and _is_plain(conv)
        and isinstance(conv.kernel_dilation, tuple)
        and isinstance(conv.padding, tuple)
    )


def _suits_product(conv: nnx.Conv) -> bool:
    return (
        conv.kernel.shape[:2] == (1, 1)
        and conv.padding == ((0, 0), (0, 0))
        and conv.input_dilation in (1, (1, 1))
        and conv.feature_group_count == 1
    )


def _is_plain(conv: nnx.Conv) -> bool:
    return (
        conv.strides == (1, 1)
        and conv.input_dilation in (1, (1, 1))
        and conv.feature_group_count == 1
        and jnp.dtype(conv.dtype or conv.kernel.dtype).itemsize >= 4
    )
