"""Lovasz's extension of 1 - intersection over union: a surrogate that follows the score itself.

Source: Berman, Rannen Triki and Blaschko, "The Lovász-softmax loss" (2018), and the authors'
`lovasz_losses.py`: the softmax's loss for several classes, the hinge's for one logit.
"""

import jax
import jax.numpy as jnp

from fcn_jax.training.losses.pixels import (
    ClassWeights,
    class_weights_of,
    nan_if_wrong,
    read_pixels,
    weighted_mean,
)


def lovasz_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int = 255,
    class_weights: ClassWeights = None,
) -> jax.Array:
    """Computes the mean over the classes that occur in the labels of each one's extension over the batch.

    For one logit it is the extension of the foreground's score, of the hinge errors.

    Args:
      logits: (N, H, W, C), any float dtype; computed in at least float32.
      labels: (N, H, W) integers in [0, C), or [0, 1] for one logit, or `ignore_label`. Any other label makes
        the result NaN.
      class_weights: (C,) weights of the classes in the mean; not for one logit.

    Returns:
      A scalar, at least float32; 0 where no pixel is valid.

    Raises:
      ArrayError: shapes that do not match.
    """
    pixels = read_pixels(logits, labels, ignore_label)
    weights = class_weights_of(class_weights, logits.shape[-1], pixels.logits.dtype)
    valid, target = pixels.valid.ravel(), pixels.target.reshape(-1, pixels.target.shape[-1]).T  # (K, pixels)
    if logits.shape[-1] == 1:
        signs = jnp.where(target[1], 1, -1)
        errors = 1 - pixels.logits[..., 1].ravel() * signs
        loss = _extension(errors[None], target[1:], valid)[0]
        return nan_if_wrong(jnp.where(valid.any(), loss, 0), pixels)
    probabilities = jax.nn.softmax(pixels.logits).reshape(-1, logits.shape[-1]).T
    losses = _extension(jnp.where(target, 1 - probabilities, probabilities), target, valid)
    return nan_if_wrong(weighted_mean(losses, jnp.where(target.any(1), weights, 0)), pixels)


def _extension(errors: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
    """Computes the extension for each of K classes.

    Args:
      errors: (K, P) of each pixel; those below 0 count as 0.
      target: (K, P) bool, where the class is; false where a pixel is void.
      valid: (P,) bool.

    Returns:
      (K,).
    """
    key = jnp.where(valid, jax.lax.stop_gradient(errors), -jnp.inf)  # void pixels come last
    order = jnp.argsort(-key, axis=1)
    steps = _steps(jnp.take_along_axis(target, order, 1), errors.dtype)
    ranked = jnp.where(valid[order], jnp.take_along_axis(errors, order, 1), 0)
    return (jnp.maximum(ranked, 0) * steps).sum(1)


def _steps(target: jax.Array, dtype) -> jax.Array:
    """Computes how much 1 - intersection over union grows with each pixel that is wrong, in rank order.

    A pixel of the class takes one from the intersection, another adds one to the union. The growth has a
    closed form in whole numbers, so no nearly equal numbers are subtracted.
    """
    whole = target.sum(1, dtype=jnp.int32)[:, None]
    intersection = whole - target.cumsum(1, dtype=jnp.int32)
    union = whole + (~target).cumsum(1, dtype=jnp.int32)
    first = (whole == 0) & (
        jnp.arange(target.shape[1]) == 0
    )  # without the class, one wrong pixel is all wrong
    share = intersection.astype(dtype) / union.astype(dtype)
    added = share / jnp.maximum(union - 1, 1).astype(dtype)
    return jnp.where(first, 1, jnp.where(target, 1 / union.astype(dtype), added))
