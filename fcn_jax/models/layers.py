"""The layers shared by the models: convolution and batch normalization with PyTorch's arithmetic.

Padding is given in pixels because "SAME" pads an even-sized input unevenly at stride 2.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.errors import ArrayError

# torchvision's ResNet: normal with variance 2 / (out_channels * height * width).
KAIMING_FAN_OUT = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# torch.nn.Conv2d's default: uniform within 1 / sqrt(in_channels * height * width), here as a variance.
TORCH_CONV = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Fixed(nnx.Variable):
    """A weight that is saved and loaded like a parameter but never trained.

    It is not an `nnx.Param`, so it gets neither a gradient nor weight decay.
    """


def wide(dtype: Any) -> Any:
    """Returns float32 for half precision, and wider floats as they are; also where promotion is strict."""
    return jnp.dtype(dtype) if jnp.dtype(dtype).itemsize >= 4 else jnp.dtype(jnp.float32)


def at_least_float32(x: jax.Array) -> jax.Array:
    """Widens half precision to float32; leaves float32 and float64 as they are."""
    return x.astype(wide(x.dtype))


def torch_conv_bias(fan_in: int) -> jax.nn.initializers.Initializer:
    """Returns torch.nn.Conv2d's bias initializer: uniform within 1 / sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)

    def uniform(
        key: jax.Array, shape: Sequence[int], dtype: Any = None, out_sharding: Any = None
    ) -> jax.Array:
        return jax.random.uniform(key, shape, dtype or jnp.float32, -bound, bound)

    return uniform


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    kernel_init: jax.nn.initializers.Initializer = KAIMING_FAN_OUT,
    bias_init: jax.nn.initializers.Initializer | None = None,
    **dtypes_and_rngs: Any,
) -> nnx.Conv:
    """Makes a 2-D convolution on (N, H, W, C) with a square kernel; it has a bias if `bias_init` is given.

    Padding is in pixels on each side. With groups, the g-th contiguous part of the outputs reads the g-th
    part of the inputs.
    """
    return nnx.Conv(
        in_channels,
        out_channels,
        (kernel, kernel),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        kernel_dilation=(dilation, dilation),
        feature_group_count=groups,
        use_bias=bias_init is not None,
        kernel_init=kernel_init,
        bias_init=bias_init or jax.nn.initializers.zeros,
        **dtypes_and_rngs,
    )


def geometry(layer: nnx.Conv) -> tuple[int, int, int, int]:
    """Returns kernel side, stride, padding and dilation of a layer made by `conv`."""
    made: Any = layer  # nnx.Conv accepts settings in several forms; `conv` always passes these
    return made.kernel_size[0], made.strides[0], made.padding[0][0], made.kernel_dilation[0]


class Normalized(nnx.Module):
    """A module whose convolutions are each followed by a batch norm.

    Attributes:
      batch_norms: {name of the batch norm: name of the convolution before it}.
    """

    batch_norms: ClassVar[Mapping[str, str]]


class BatchNorm(nnx.BatchNorm):
    """Batch normalization as torch.nn.BatchNorm2d computes it.

    It differs from `nnx.BatchNorm` in three points. The running variance is unbiased (n / (n - 1)). The batch
    variance is the mean squared deviation rather than E[x²] - E[x]². Statistics and normalization are at
    least float32, also when the model computes in bfloat16. A jitted step over a sharded batch computes the
    statistics of the global batch (torch: SyncBatchNorm).

    Raises:
      ArrayError: in training, a channel has only one value, so its variance is undefined.
    """

    def __init__(self, features: int, *, dtype: Any = None, param_dtype: Any = jnp.float32, rngs: nnx.Rngs):
        super().__init__(
            features,
            momentum=0.9,  # the weight of the old value; torch's 0.1 is that of the new one
            epsilon=1e-5,
            dtype=dtype,
            param_dtype=param_dtype,
            use_fast_variance=False,
            rngs=rngs,
        )
        statistics_dtype = wide(param_dtype)
        self.mean = nnx.BatchStat(jnp.zeros(features, statistics_dtype))
        self.var = nnx.BatchStat(jnp.ones(features, statistics_dtype))

    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Normalizes (N, H, W, C) over all axes but the last; returns `dtype`, or else the dtype of `x`.

        Args:
          x: maps.
          use_running_average, mask: must be None; they exist because `nnx.BatchNorm` has them.
        """
        assert use_running_average is None, "set by model.eval() and model.train()"
        assert mask is None, "not needed here"
        assert self.scale is not None, "made by __init__"
        assert self.bias is not None, "made by __init__"
        dtype = self.dtype or x.dtype
        x = x.astype(wide(x.dtype))
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
        else:
            mean, var = self._batch_statistics(x)
        scale = jax.lax.rsqrt(var + self.epsilon) * self.scale[...]
        return ((x - mean) * scale + self.bias[...]).astype(dtype)

    def _batch_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        count = x.size // x.shape[-1]
        if count == 1:
            raise ArrayError(
                expected="more than one value per channel in training",
                got=f"maps of shape {x.shape}",
                hint="use a larger batch or image, or model.eval()",
            )
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        var = jnp.square(x - mean).mean(axes)
        self._update(self.mean, mean)
        self._update(self.var, var * (count / (count - 1)))
        return mean, var

    def _update(self, running: nnx.BatchStat, batch: jax.Array) -> None:
        batch = jax.lax.stop_gradient(batch).astype(running.dtype)
        running[...] = self.momentum * running[...] + (1 - self.momentum) * batch
