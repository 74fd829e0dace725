"""The heads that compute class logits from backbone features.

Source: `torchvision.models.segmentation.fcn.FCNHead`, and `mmseg.models.FCNHead`, whose auxiliary form is
torchvision's but for the dilation, the dropout of whole channels and the first weights of the scores.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.layers import (
    KAIMING_FAN_OUT,
    TORCH_CONV,
    BatchNorm,
    Normalized,
    at_least_float32,
    conv,
    torch_conv_bias,
    wide,
)

DROPOUT = 0.1
SCORES = jax.nn.initializers.normal(0.01)
"""First weights of mmsegmentation's scores; their biases begin at zero."""


class FCNHead(Normalized):
    """3x3 convolution to a quarter of the channels, batch norm, ReLU, dropout 0.1, 1x1 to the classes.

    Args:
      in_channels: of the features.
      dilation: of the 3x3 convolution.
      whole_channels: mmsegmentation's form: dropout of whole channels, and its first weights.
    """

    batch_norms: ClassVar = {"bn": "conv"}

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        dilation: int = 1,
        whole_channels: bool = False,
        rngs: nnx.Rngs,
        **dtypes: Any,
    ):
        channels = in_channels // 4
        self.conv = conv(
            in_channels,
            channels,
            3,
            padding=dilation,
            dilation=dilation,
            kernel_init=KAIMING_FAN_OUT if whole_channels else TORCH_CONV,
            rngs=rngs,
            **dtypes,
        )
        self.bn = BatchNorm(channels, rngs=rngs, **dtypes)
        self.dropout = _dropout(rngs, whole_channels=whole_channels)
        self.score = _score(channels, num_classes, whole_channels, rngs, **dtypes)

    def __call__(self, features: jax.Array, extent: Extent = EVERYTHING) -> jax.Array:
        """Maps (N, h, w, in_channels) to logits (N, h, w, num_classes), at least float32."""
        x = jax.nn.relu(self.bn(self.conv(extent.keep(features))))
        return self.score(at_least_float32(self.dropout(x)))


class ConcatHead(Normalized):
    """mmsegmentation's head: two 3x3 convolutions, a third on features and result, 1x1 to the classes.

    Each of the three has a quarter of the features' channels, batch norm and ReLU.

    Args:
      in_channels: of the features.
      dilation: of the first two convolutions; the third has none.

    Source: `mmseg.models.FCNHead` with `num_convs=2` and `concat_input=True`.
    """

    batch_norms: ClassVar = {"bn1": "conv1", "bn2": "conv2", "bn_cat": "conv_cat"}

    def __init__(
        self, in_channels: int, num_classes: int, *, dilation: int = 1, rngs: nnx.Rngs, **dtypes: Any
    ):
        channels = in_channels // 4
        settings = {"rngs": rngs, **dtypes}
        self.conv1 = conv(in_channels, channels, 3, padding=dilation, dilation=dilation, **settings)
        self.bn1 = BatchNorm(channels, **settings)
        self.conv2 = conv(channels, channels, 3, padding=dilation, dilation=dilation, **settings)
        self.bn2 = BatchNorm(channels, **settings)
        self.conv_cat = conv(in_channels + channels, channels, 3, padding=1, **settings)
        self.bn_cat = BatchNorm(channels, **settings)
        self.dropout = _dropout(rngs, whole_channels=True)
        self.score = _score(channels, num_classes, True, **settings)

    def __call__(self, features: jax.Array, extent: Extent = EVERYTHING) -> jax.Array:
        """Maps (N, h, w, in_channels) to logits (N, h, w, num_classes), at least float32."""
        features = extent.keep(features)
        x = jax.nn.relu(self.bn1(self.conv1(features)))
        x = jax.nn.relu(self.bn2(self.conv2(extent.keep(x))))
        x = jnp.concatenate([features, extent.keep(x)], axis=-1)
        x = jax.nn.relu(self.bn_cat(self.conv_cat(x)))
        return self.score(at_least_float32(self.dropout(x)))


def _dropout(rngs: nnx.Rngs, *, whole_channels: bool) -> nnx.Dropout:
    """Makes the dropout, of single values or, as torch.nn.Dropout2d, of whole channels of an image."""
    return nnx.Dropout(DROPOUT, broadcast_dims=(1, 2) if whole_channels else (), rngs=rngs)


def _score(
    channels: int,
    num_classes: int,
    small: bool,
    rngs: nnx.Rngs,
    *,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> nnx.Conv:
    """Makes the 1x1 convolution to the classes, which computes in at least float32."""
    return conv(
        channels,
        num_classes,
        1,
        kernel_init=SCORES if small else TORCH_CONV,
        bias_init=jax.nn.initializers.zeros if small else torch_conv_bias(channels),
        dtype=None if dtype is None else wide(dtype),
        param_dtype=param_dtype,
        rngs=rngs,
    )
