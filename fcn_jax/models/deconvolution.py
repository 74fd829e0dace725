"""Transposed convolution with `torch.nn.ConvTranspose2d`'s arithmetic, and the bilinear kernel it starts at.

Every input pixel adds x * kernel to the output at stride times its place, unflipped. Kernels are
(kh, kw, out_channels, in_channels): PyTorch's and Caffe's (in, out, kh, kw) under the transpose (2, 3, 1, 0)
that all convolutions take.

Source: Long, Shelhamer, Darrell (2015), section 3.3; Caffe's `DeconvolutionLayer`.
"""

from typing import Any

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


def bilinear(key: jax.Array | None, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Initializes a kernel that upsamples each channel by itself: bilinear where output = input, else zero.

    Args:
      key: not used; initializers take one.
      shape: (k, k, channels, channels).

    Raises:
      ValueError: a kernel that is not square, or has another number of outputs than inputs.
    """
    height, width, outputs, inputs = shape
    if height != width or outputs != inputs:
        raise ValueError(
            f"expected a square kernel with as many outputs as inputs, got (kh, kw, out, in) {tuple(shape)}"
        )
    return jnp.asarray(bilinear_kernel(height)[..., None, None] * np.eye(outputs), dtype)


def conv_transpose(x: jax.Array, kernel: jax.Array, *, stride: int = 1) -> jax.Array:
    """Convolves, transposed and unpadded.

    Each of the stride**2 phases of the output is a small plain convolution of the input; one convolution
    computes them all as channels, which are then put side by side. It does stride**2 times less work than
    convolving an input spread out by zeros, and is done at full precision (no TF32).

    Args:
      x: (N, h, w, in_channels).
      kernel: (kh, kw, out_channels, in_channels), of the dtype of `x`.

    Returns:
      (N, H, W, out_channels), H = stride * (h - 1) + kh.

    Raises:
      ValueError: channels that do not fit.
    """
    outputs, inputs = kernel.shape[2:]
    if x.ndim != 4 or x.shape[-1] != inputs:
        raise ValueError(
            f"expected maps (N, h, w, C) and a kernel (kh, kw, out, C); got {x.shape}, {kernel.shape}"
        )
    size = [stride * (n - 1) + k for n, k in zip(x.shape[1:3], kernel.shape[:2], strict=True)]
    taps = [-(-k // stride) for k in kernel.shape[:2]]  # input pixels that one output pixel sees
    overhang = [t * stride - k for t, k in zip(taps, kernel.shape[:2], strict=True)]
    kernel = jnp.pad(kernel, [(0, overhang[0]), (0, overhang[1]), (0, 0), (0, 0)])
    # Offset i = stride * tap + phase. Phases and outputs become channels; only the taps are turned round,
    # because lax correlates. No other flip exists.
    kernel = kernel.reshape(taps[0], stride, taps[1], stride, outputs, inputs)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
    kernel = kernel.reshape(*taps, inputs, stride * stride * outputs)
    y = lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(t - 1, t - 1) for t in taps],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    batch, rows, columns, _ = y.shape
    y = y.reshape(batch, rows, columns, stride, stride, outputs).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(batch, rows * stride, columns * stride, outputs)
    return y[:, : size[0], : size[1]]


class Deconvolution(nnx.Module):
    """A square transposed convolution without bias, bilinear to begin with; see `conv_transpose`.

    Args:
      channels: of its input and its output.
      kernel: its side.
      kernel_variable: `nnx.Param` for a kernel that learns, `Fixed` for one that does not.
      dtype: of the computation; by promotion of the input and the kernel if not given.
      param_dtype: of the kernel.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        kernel_variable: type[nnx.Variable] = nnx.Param,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
    ):
        self.kernel = kernel_variable(bilinear(None, (kernel, kernel, channels, channels), param_dtype))
        self.stride = stride
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, h, w, channels) to (N, H, W, channels)."""
        dtype = self.dtype or jnp.result_type(x, self.kernel[...])
        return conv_transpose(x.astype(dtype), self.kernel[...].astype(dtype), stride=self.stride)
