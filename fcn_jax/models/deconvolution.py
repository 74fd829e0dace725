"""Transposed convolution, as `torch.nn.ConvTranspose2d` computes it, and its initial bilinear kernel.

The input pixel at index i adds x * kernel, unflipped, to the output from index stride * i on. Kernels are
(kh, kw, out_channels, in_channels): the transpose (2, 3, 1, 0) of PyTorch's and Caffe's (in, out, kh, kw),
as for all convolutions.

Source: Long, Shelhamer, Darrell (2015), section 3.3; Caffe's `DeconvolutionLayer`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax


def bilinear_weights(size: int) -> np.ndarray:
    """Computes the (size,) triangle of bilinear interpolation; its outer product with itself is the kernel.

    Weights fall by 1 / f per step from the centre, f = (size + 1) // 2. An odd size has a tap at the centre;
    an even size has its centre between two taps. For size 2 * stride or 2 * stride - 1 the weights that
    reach one output pixel add to 1.

    Raises:
      ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"expected a kernel side of at least 1, got {size}")
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)


def bilinear_kernel(size: int) -> np.ndarray:
    """Computes the (size, size) float64 kernel of bilinear upsampling."""
    weights = bilinear_weights(size)
    return np.outer(weights, weights)


def bilinear(key: jax.Array | None, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Initializes a kernel that upsamples each channel separately: bilinear where output = input, else zero.

    Args:
      key: not used; every initializer has this argument.
      shape: (k, k, channels, channels).

    Raises:
      ValueError: the kernel is not square, or its numbers of outputs and inputs differ.
    """
    height, width, outputs, inputs = shape
    if height != width or outputs != inputs:
        raise ValueError(
            f"expected a square kernel with as many outputs as inputs, got (kh, kw, out, in) {tuple(shape)}"
        )
    return jnp.asarray(bilinear_kernel(height)[..., None, None] * np.eye(outputs), dtype)


def conv_transpose(x: jax.Array, kernel: jax.Array, *, stride: int = 1) -> jax.Array:
    """Computes an unpadded transposed convolution, at full precision (no TF32).

    Each of the stride**2 phases of the output is a small plain convolution of the input. One convolution
    computes all phases as channels, which are then interleaved. This is stride**2 times less work than
    convolving an input spread out by zeros.

    Args:
      x: (N, h, w, in_channels).
      kernel: (kh, kw, out_channels, in_channels), of the dtype of `x`.

    Returns:
      (N, H, W, out_channels), H = stride * (h - 1) + kh.

    Raises:
      ValueError: the channels of `x` and `kernel` differ, or `x` is not of rank 4.
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
    # Offset i = stride * tap + phase. Phases and outputs become channels. Only the taps are flipped, because
    # lax correlates.
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
    """A square transposed convolution without bias, initially bilinear; see `conv_transpose`.

    Args:
      channels: number of input channels and of output channels.
      kernel: side of the kernel.
      kernel_variable: `nnx.Param` for a kernel that learns, `Fixed` for one that does not.
      dtype: of the computation; by default promoted from the input and the kernel.
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
