"""The head that computes class logits from backbone features.

Source: `torchvision.models.segmentation.fcn.FCNHead`.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.layers import TORCH_CONV, BatchNorm, Normalized, at_least_float32, conv, torch_conv_bias


class FCNHead(Normalized):
    """3x3 convolution to a quarter of the channels, batch norm, ReLU, dropout 0.1, 1x1 to the classes."""

    batch_norms: ClassVar = {"bn": "conv"}

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        channels = in_channels // 4
        self.conv = conv(
            in_channels,
            channels,
            3,
            padding=1,
            kernel_init=TORCH_CONV,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.bn = BatchNorm(channels, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.score = conv(
            channels,
            num_classes,
            1,
            kernel_init=TORCH_CONV,
            bias_init=torch_conv_bias(channels),
            dtype=None if dtype is None else jnp.promote_types(dtype, jnp.float32),
            param_dtype=param_dtype,
            rngs=rngs,
        )

    def __call__(self, features: jax.Array, extent: Extent = EVERYTHING) -> jax.Array:
        """Maps (N, h, w, in_channels) to logits (N, h, w, num_classes), at least float32."""
        x = jax.nn.relu(self.bn(self.conv(extent.keep(features))))
        return self.score(at_least_float32(self.dropout(x)))
