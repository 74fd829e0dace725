"""Transposed convolution with `torch.nn.ConvTranspose2d`'s arithmetic, and the bilinear kernel it starts at.

Every input pixel adds x * kernel to the output at stride times its place, unflipped. Kernels are
(kh, kw, out_channels / groups, in_channels): PyTorch's and Caffe's (in, out / groups, kh, kw) under the
transpose (2, 3, 1, 0) that all convolutions take. The g-th part of the outputs reads the g-th part of the
inputs.

Source: Long, Shelhamer, Darrell (2015), section 3.3; Caffe's `DeconvolutionLayer`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax


def bilinear_weights(size: int) -> np.ndarray:
    """Computes the (size,) tent of bilinear interpolation; its outer product with itself is the kernel.

    With f = (size + 1) // 2 it falls by 1 / f a step from its centre, which is a tap for odd sizes and lies
    between the two middle taps for even ones. For size 2 * stride or 2 * stride - 1 the taps of every phase
    add to 1.

    Raises:
      ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"expected a kernel side of at least 1, got {size}")
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)


def bilinear_kernel(size: int) -> np.ndarray:
    """Computes the (size, size) float64 kernel that upsamples bilinearly."""
    weights = bilinear_weights(size)
    return np.outer(weights, weights)


def bilinear(groups: int = 1) -> jax.nn.initializers.Initializer:
    """Gives the initializer that upsamples each channel by itself: bilinear kernels where output = input.

    Raises (when called):
      ValueError: a kernel that is not square, or of another number of outputs than inputs.
    """

    def initialize(key, shape, dtype=jnp.float32) -> jax.Array:
        height, width, outputs, inputs = shape
        if height != width or outputs * groups != inputs:
            raise ValueError(
                "expected a square kernel with as many outputs as inputs, "
                f"got (kh, kw, out / groups, in) {tuple(shape)} with groups {groups}"
            )
        same_channel = np.tile(np.eye(outputs), groups)
        return jnp.asarray(bilinear_kernel(height)[..., None, None] * same_channel, dtype)

    return initialize


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> jax.Array:
    """Convolves, transposed: cuts `padding` pixels from every side, adds `output_padding` at the high end.

    Each of the stride**2 phases of the output is a small plain convolution of the input; one convolution
    computes them all as channels, which are then put side by side. It does stride**2 times less work than
    convolving an input spread out by zeros, and is done at full precision (no TF32).

    Args:
      x: (N, h, w, in_channels).
      kernel: (kh, kw, out_channels / groups, in_channels), of the dtype of `x`.

    Returns:
      (N, H, W, out_channels), H = stride * (h - 1) + dilation * (kh - 1) + 1 - 2 * padding + output_padding.

    Raises:
      ValueError: channels that do not fit, an empty result, a negative padding, or an output_padding below
        neither the stride nor the dilation.
    """
    outputs, inputs = kernel.shape[2:]
    if x.ndim != 4 or x.shape[-1] != inputs or inputs % groups:
        raise ValueError(
            f"expected maps (N, h, w, C) and a kernel (kh, kw, out / groups, C) with C a multiple of groups; "
            f"got {x.shape}, {kernel.shape}, groups {groups}"
        )
    if padding < 0 or not 0 <= output_padding < max(stride, dilation):
        raise ValueError(
            "expected a padding of at least 0 and an output_padding below the stride or the dilation; got "
            f"{padding} and {output_padding} with stride {stride}, dilation {dilation}"
        )
    reach = [dilation * (k - 1) + 1 for k in kernel.shape[:2]]
    size = [
        stride * (n - 1) + r - 2 * padding + output_padding for n, r in zip(x.shape[1:3], reach, strict=True)
    ]
    if min(size) < 1:
        raise ValueError(f"expected a result of at least one pixel, got {tuple(size)}")

    taps = [-(-r // stride) for r in reach]  # input pixels that one output pixel sees
    overhang = [t * stride - r for t, r in zip(taps, reach, strict=True)]
    kernel = lax.pad(
        kernel,
        jnp.zeros((), kernel.dtype),
        [(0, overhang[0], dilation - 1), (0, overhang[1], dilation - 1), (0, 0, 0), (0, 0, 0)],
    )
    # Offset i = stride * tap + phase. Phases and outputs become channels, group by group; only the taps are
    # turned round, because lax correlates. No other flip exists.
    kernel = kernel.reshape(taps[0], stride, taps[1], stride, outputs, groups, inputs // groups)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 6, 5, 1, 3, 4)
    kernel = kernel.reshape(*taps, inputs // groups, groups * stride * stride * outputs)
    y = lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(t - 1, t - 1) for t in taps],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )
    batch, rows, columns, _ = y.shape
    y = y.reshape(batch, rows, columns, groups, stride, stride, outputs).transpose(0, 1, 4, 2, 5, 3, 6)
    y = y.reshape(batch, rows * stride, columns * stride, groups * outputs)
    missing = [max(0, padding + s - n) for s, n in zip(size, y.shape[1:3], strict=True)]
    y = jnp.pad(y, [(0, 0), (0, missing[0]), (0, missing[1]), (0, 0)])
    return y[:, padding : padding + size[0], padding : padding + size[1]]


class Deconvolution(nnx.Module):
    """A square transposed convolution, bilinear to begin with; see `conv_transpose` for its arithmetic.

    Args:
      kernel_variable: `nnx.Param` for a kernel that learns, `Fixed` for one that does not.
      kernel_init: for (kh, kw, out_channels / groups, in_channels); bilinear if not given.
      bias_init: adds a bias if given.
      dtype: of the computation; by promotion of the input and the parameters if not given.
      param_dtype: of the parameters.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        kernel_variable: type[nnx.Variable] = nnx.Param,
        kernel_init: jax.nn.initializers.Initializer | None = None,
        bias_init: jax.nn.initializers.Initializer | None = None,
        dtype=None,
        param_dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"expected channels in multiples of groups, got {in_channels} in, {out_channels} out, "
                f"groups {groups}"
            )
        shape = (kernel, kernel, out_channels // groups, in_channels)
        kernel_init = kernel_init or bilinear(groups)
        self.kernel = kernel_variable(kernel_init(rngs.params(), shape, param_dtype))
        self.bias = (
            nnx.data(None)
            if bias_init is None
            else nnx.Param(bias_init(rngs.params(), (out_channels,), param_dtype))
        )
        self.stride = stride
        self.padding = padding
        self.output_padding = output_padding
        self.dilation = dilation
        self.groups = groups
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, h, w, in_channels) to (N, H, W, out_channels)."""
        dtype = self.dtype or jnp.result_type(x, self.kernel[...])
        y = conv_transpose(
            x.astype(dtype),
            self.kernel[...].astype(dtype),
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias[...].astype(dtype)
