"""Cross-entropy of the pixels near a boundary between two classes, where segmentations are wrong most often.

Added to the cross-entropy of all pixels, it counts these pixels more: `ce+2*boundary`.
"""

import jax
import jax.numpy as jnp

from fcn_jax.errors import SettingError
from fcn_jax.training.losses.cross_entropy import cross_entropy, loss_denominator
from fcn_jax.training.losses.pixels import num_labels


def boundary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    width: int = 3,
    ignore_label: int = 255,
    denominator: jax.Array | None = None,
    **settings,
) -> jax.Array:
    """Computes the cross-entropy of the pixels near a boundary; 0 if there are none.

    Args:
      logits, labels, ignore_label, denominator: as in `cross_entropy`.
      width: see `near_boundary`.
      settings: class_weights and reduction of `cross_entropy`.

    Raises:
      ArrayError, SettingError: see `cross_entropy` and `near_boundary`.
    """
    near = _near_alone(labels, logits.shape[-1], width, ignore_label)
    return cross_entropy(logits, near, ignore_label=ignore_label, denominator=denominator, **settings)


def boundary_denominator(
    labels: jax.Array, num_classes: int, *, width: int = 3, ignore_label: int = 255, **settings
) -> jax.Array:
    """Computes what the sum over the pixels near a boundary is divided by; see `loss_denominator`."""
    near = _near_alone(labels, num_classes, width, ignore_label)
    return loss_denominator(near, num_classes, ignore_label=ignore_label, **settings)


def near_boundary(labels: jax.Array, width: int = 3, ignore_label: int = 255) -> jax.Array:
    """Finds the pixels that have another class within `width` rows and columns; void is no class.

    Args:
      labels: (N, H, W) integers.

    Returns:
      (N, H, W) bool, false where the label is void.

    Raises:
      SettingError: `width` is below 1.
    """
    if width < 1 or int(width) != width:
        raise SettingError(subject="boundary: width", expected="a number of pixels", got=str(width))
    labels = labels.astype(jnp.int32)
    valid = labels != ignore_label
    bounds = jnp.iinfo(jnp.int32)
    largest = _over_window(jnp.where(valid, labels, bounds.min), jnp.maximum, int(width), bounds.min)
    smallest = _over_window(jnp.where(valid, labels, bounds.max), jnp.minimum, int(width), bounds.max)
    return valid & (largest != smallest)


def _over_window(values: jax.Array, choose, width: int, outside: int) -> jax.Array:
    """Chooses a value of each window of 2 * width + 1 rows and columns."""
    for axis in (1, 2):
        padded = jnp.pad(
            values, [(width, width) if each == axis else (0, 0) for each in range(3)], constant_values=outside
        )
        shifted = [
            jax.lax.slice_in_dim(padded, start, start + values.shape[axis], axis=axis)
            for start in range(2 * width + 1)
        ]
        values = shifted[0]
        for other in shifted[1:]:
            values = choose(values, other)
    return values


def _near_alone(labels: jax.Array, num_classes: int, width: int, ignore_label: int) -> jax.Array:
    """Makes void of all pixels that are not near a boundary; labels that are no class stay."""
    labels = labels.astype(jnp.int32)
    wrong = (labels < 0) | (labels >= num_labels(num_classes))
    keep = near_boundary(labels, width, ignore_label) | wrong
    return jnp.where(keep, labels, ignore_label)
