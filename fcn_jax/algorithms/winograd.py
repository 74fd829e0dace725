"""3x3 convolution by Winograd's algorithm F(4x4, 3x3): 36 multiplications instead of 144.

A transform turns each input tile of 6x6 pixels into 36 values, and the 3x3 kernel too. Their 36 products are
transformed into 4x4 outputs. A transform costs additions per channel, but multiplications are saved per pair
of input and output channels, so many channels make it worthwhile. The evaluation points 0, 1, -1, 2, -1/2 and
infinity keep rounding errors close to those of the direct sum.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks" (2015); the matrices are
constructed by the method of Toom and Cook, which multiplies polynomials by their values at points.
"""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-1, 2))  # and infinity
OUTPUTS, TAPS = 4, 3
INPUTS = OUTPUTS + TAPS - 1
PIECE = 2**14  # pairs of channels whose taps fit into a CPU cache while they are transformed


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Constructs the matrices of the one-dimensional algorithm.

    The product of a polynomial with 4 coefficients and one with 3 is a full convolution of the coefficients.
    It can be computed at 6 points: evaluate, multiply, interpolate. The transpose of this linear map
    correlates 6 inputs with 3 taps: the transposed interpolation is applied to the inputs, and the transposed
    evaluation of the 4 coefficients gives the outputs.

    Returns:
      from inputs (6, 6), from taps (6, 3), to outputs (4, 6); float64.
    """

    def evaluate(length: int) -> list[list[Fraction]]:
        return [[point**power for power in range(length)] for point in POINTS] + [
            [Fraction(power == length - 1) for power in range(length)]
        ]

    from_taps, to_outputs = evaluate(TAPS), evaluate(OUTPUTS)
    interpolate = []  # coefficients of a polynomial that is 0 at all points but one
    for index, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        interpolate.append([*_product([[-other, Fraction(1)] for other in others]), Fraction(0)])
        # The factor that makes it 1 at that point goes to the taps, because they are transformed only once.
        scale = Fraction(1) / math.prod(point - other for other in others)
        from_taps[index] = [value * scale for value in from_taps[index]]
    interpolate.append(_product([[-point, Fraction(1)] for point in POINTS]))
    return (
        np.array(interpolate, np.float64),
        np.array(from_taps, np.float64),
        np.array(to_outputs, np.float64).T,
    )


def _product(polynomials: list[list[Fraction]]) -> list[Fraction]:
    result = [Fraction(1)]
    for polynomial in polynomials:
        longer = [Fraction(0)] * (len(result) + len(polynomial) - 1)
        for i, one in enumerate(result):
            for j, other in enumerate(polynomial):
                longer[i + j] += one * other
        result = longer
    return result


FROM_INPUTS, FROM_TAPS, TO_OUTPUTS = _matrices()
FROM_KERNEL = np.kron(FROM_TAPS, FROM_TAPS)  # (6 of columns and 6 of rows, 3 of columns and 3 of rows)


def transform_kernel(kernel: np.ndarray) -> np.ndarray:
    """Transforms (3, 3, in, out) to (36, in, out), in float64, piece by piece to save memory."""
    kernel = np.asarray(kernel)
    taps = kernel.swapaxes(0, 1).reshape(TAPS**2, -1)
    result = np.empty((INPUTS**2, taps.shape[1]), kernel.dtype)
    for begin in range(0, taps.shape[1], PIECE):
        piece = slice(begin, begin + PIECE)
        result[:, piece] = FROM_KERNEL @ taps[:, piece].astype(np.float64)
    return result.reshape(INPUTS**2, *kernel.shape[2:])


def transform_trained_kernel(kernel: jax.Array) -> jax.Array:
    """Computes `transform_kernel` in a training step, in the kernel's own dtype, with a gradient."""
    taps = kernel.swapaxes(0, 1).reshape(TAPS**2, -1)
    return jnp.matmul(FROM_KERNEL.astype(kernel.dtype), taps).reshape(INPUTS**2, *kernel.shape[2:])


def winograd_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes a 3x3 convolution of stride 1 to the same size.

    Args:
      x: (N, H, W, in).
      kernel: (36, in, out), see `transform_kernel`.

    Returns:
      (N, H, W, out).
    """
    batch, height, width, channels = x.shape
    rows, columns = -(-height // OUTPUTS), -(-width // OUTPUTS)
    below, right = rows * OUTPUTS + 1 - height, columns * OUTPUTS + 1 - width
    x = jnp.pad(x, [(0, 0), (1, below), (1, right), (0, 0)])
    # Rows, then columns; stacked, because compile time grows with the number of arrays.
    x = _combine(FROM_INPUTS, [x[:, i : i + 4 * rows - 3 : 4] for i in range(INPUTS)])  # (6, N, rows, ...)
    x = _combine(FROM_INPUTS, [x[:, :, :, i : i + 4 * columns - 3 : 4] for i in range(INPUTS)])
    x = x.reshape(INPUTS**2, batch * rows * columns, channels)
    y = jax.lax.dot_general(x, kernel, (((2,), (1,)), ((0,), (0,))))  # (36, tiles, out)
    y = y.reshape(INPUTS, INPUTS, batch, rows, columns, kernel.shape[-1])
    y = _combine(TO_OUTPUTS, list(y))  # (4 columns, 6, N, rows, columns, out)
    y = _combine(TO_OUTPUTS, list(y.swapaxes(0, 1)))  # (4 rows, 4 columns, N, rows, columns, out)
    y = y.transpose(2, 3, 0, 4, 1, 5).reshape(batch, rows * OUTPUTS, columns * OUTPUTS, -1)
    return y[:, :height, :width]


def _combine(matrix: np.ndarray, parts: list[jax.Array]) -> jax.Array:
    """Multiplies a list of arrays by a constant matrix, skipping zeros, and stacks the results."""
    return jnp.stack(
        [
            sum(float(factor) * part for factor, part in zip(row, parts, strict=True) if factor)
            for row in matrix
        ]
    )
