"""What the losses share: checked shapes, valid pixels, targets, weights of the classes."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcn_jax.errors import ArrayError
from fcn_jax.models.layers import at_least_float32

ClassWeights = Sequence[float] | jax.Array | None


class Pixels(NamedTuple):
    """The pixels of a batch.

    Attributes:
      logits: (N, H, W, K), at least float32, of K labels; one logit z is the two logits (0, z).
      target: (N, H, W, K) bool, the label of each pixel; all false where it is void.
      valid: (N, H, W) bool, where a label counts.
      wrong: (N, H, W) bool, where a label is neither a class nor void.
    """

    logits: jax.Array
    target: jax.Array
    valid: jax.Array
    wrong: jax.Array


def num_labels(num_classes: int) -> int:
    """Returns the number of labels that logits of so many classes tell: 2 for one logit."""
    return 2 if num_classes == 1 else num_classes


def read_pixels(logits: jax.Array, labels: jax.Array, ignore_label: int) -> Pixels:
    """Checks logits (N, H, W, C) and labels (N, H, W), and puts them into one form.

    Raises:
      ArrayError: shapes that do not match.
    """
    if logits.ndim != 4 or labels.shape != logits.shape[:-1]:
        raise ArrayError(
            expected="logits (N, H, W, C) and labels (N, H, W)", got=f"{logits.shape} and {labels.shape}"
        )
    logits = at_least_float32(logits)
    if logits.shape[-1] == 1:  # sigmoid(z) is the softmax of (0, z)
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], -1)
    count = logits.shape[-1]
    labels = labels.astype(jnp.int32)
    valid = labels != ignore_label
    # A comparison rather than a gather: its gradient needs no scatter-add.
    target = (labels[..., None] == label_axis(labels, count)) & valid[..., None]
    return Pixels(logits, target, valid, valid & ((labels < 0) | (labels >= count)))


def label_axis(labels: jax.Array, count: int) -> jax.Array:
    """Returns 0 to count - 1 with the rank of `labels` and one more; programs may forbid to promote ranks."""
    return jnp.arange(count, dtype=jnp.asarray(labels).dtype).reshape((1,) * labels.ndim + (-1,))


def pixel_losses(pixels: Pixels) -> jax.Array:
    """Computes the cross-entropy of each pixel, (N, H, W); 0 where it is void."""
    return -jnp.where(pixels.target, jax.nn.log_softmax(pixels.logits), 0).sum(-1)


def nan_if_wrong(loss: jax.Array, pixels: Pixels) -> jax.Array:
    """Returns NaN instead of a loss if a label is neither a class nor void."""
    return jnp.where(pixels.wrong.any(), jnp.nan, loss)


def class_weights_of(class_weights: ClassWeights, num_classes: int, dtype) -> jax.Array:
    """Returns the weights of the labels, ones if none are given.

    Raises:
      ArrayError: there is not one for each label.
    """
    count = num_labels(num_classes)
    if class_weights is None:
        return jnp.ones(count, dtype)
    weights = jnp.asarray(class_weights, dtype)
    if weights.shape != (count,):
        raise ArrayError(subject="class_weights", expected=f"{count} numbers", got=f"shape {weights.shape}")
    return weights


def weighted_mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns the mean of values by their weights; 0 if no weight is above 0."""
    total = weights.sum()
    return (values * weights).sum() / jnp.where(total > 0, total, 1)
