"""Losses of regions: how little the predicted region of a class overlaps with the true one.

Each compares sums over all valid pixels of the batch: t of the labels (0 or 1), p of the probabilities, and
p * t. A class that no label has counts 0, in the mean over all classes.

Source: Milletari, Navab and Ahmadi, "V-Net" (2016); Salehi, Erdogmus and Gholipour, "Tversky loss function
for image segmentation" (2017), in the form of segmentation_models_pytorch (mean over classes, absent ones 0).
"""

import jax
import jax.numpy as jnp

from fcn_jax.errors import SettingError
from fcn_jax.training.losses.pixels import (
    ClassWeights,
    class_weights_of,
    nan_if_wrong,
    read_pixels,
    weighted_mean,
)


def tversky_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    present: bool = False,
    ignore_label: int = 255,
    class_weights: ClassWeights = None,
) -> jax.Array:
    """Computes the mean over the classes of 1 - tp / (tp + alpha * fp + beta * fn).

    tp = sum(p * t), fp = sum(p * (1 - t)), fn = sum((1 - p) * t), over the valid pixels of the batch. One
    logit has one class, the foreground.

    Args:
      logits: (N, H, W, C), any float dtype; computed in at least float32.
      labels: (N, H, W) integers in [0, C), or [0, 1] for one logit, or `ignore_label`. Any other label makes
        the result NaN.
      alpha, beta: weights of false positives and false negatives, at least 0.
      present: the mean is over the classes that occur in the labels; by default over all.
      class_weights: (C,) weights of the classes in the mean; not for one logit.

    Returns:
      A scalar, at least float32; 0 where no class occurs.

    Raises:
      ArrayError: shapes that do not match.
      SettingError: a setting out of range.
    """
    if not (0 <= alpha < float("inf") and 0 <= beta < float("inf")):
        raise SettingError(
            subject="tversky: alpha, beta", expected="numbers of at least 0", got=f"{alpha}, {beta}"
        )
    pixels = read_pixels(logits, labels, ignore_label)
    probabilities = jnp.where(pixels.valid[..., None], jax.nn.softmax(pixels.logits), 0)
    dtype = probabilities.dtype
    weights = class_weights_of(class_weights, logits.shape[-1], dtype)
    both = jnp.where(pixels.target, probabilities, 0).sum((0, 1, 2))
    predicted = probabilities.sum((0, 1, 2))
    truth = pixels.target.sum((0, 1, 2), dtype=jnp.int32)
    occurs = truth > 0
    whole = both + alpha * (predicted - both) + beta * (truth.astype(dtype) - both)
    losses = jnp.where(occurs, 1 - both / jnp.where(occurs, jnp.maximum(whole, SMALLEST), 1), 0)
    if logits.shape[-1] == 1:
        return nan_if_wrong(losses[1], pixels)
    return nan_if_wrong(weighted_mean(losses, jnp.where(occurs, weights, 0) if present else weights), pixels)


def dice_loss(logits: jax.Array, labels: jax.Array, **settings) -> jax.Array:
    """Computes the mean over the classes of 1 - 2 * sum(p * t) / (sum(p) + sum(t)).

    Arguments and errors: see `tversky_loss`, of which this is alpha = beta = 0.5.
    """
    return tversky_loss(logits, labels, alpha=0.5, beta=0.5, **settings)


def jaccard_loss(logits: jax.Array, labels: jax.Array, **settings) -> jax.Array:
    """Computes the mean over the classes of 1 - sum(p * t) / (sum(p) + sum(t) - sum(p * t)).

    Arguments and errors: see `tversky_loss`, of which this is alpha = beta = 1.
    """
    return tversky_loss(logits, labels, alpha=1.0, beta=1.0, **settings)


SMALLEST = 1e-7  # with alpha = beta = 0 the denominator may vanish
