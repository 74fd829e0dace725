"""The focal loss: cross-entropy that counts easy pixels less.

Source: Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection" (2017), equation 4.
"""

import jax
import jax.numpy as jnp

from fcn_jax.errors import SettingError
from fcn_jax.training.losses.cross_entropy import Reduction, loss_denominator
from fcn_jax.training.losses.pixels import ClassWeights, class_weights_of, pixel_losses, read_pixels


def focal_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    gamma: float = 2.0,
    one_vs_rest: bool = False,
    ignore_label: int = 255,
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    denominator: jax.Array | None = None,
) -> jax.Array:
    """Computes the sum of (1 - p)**gamma * -log(p) over the valid pixels, divided as `cross_entropy` does.

    p is the probability of a pixel's label, by the softmax over the classes, or by the sigmoid of one logit.

    Args:
      logits: (N, H, W, C), any float dtype; computed in at least float32.
      labels: (N, H, W) integers in [0, C), or [0, 1] for one logit, or `ignore_label`. Any other label makes
        the result NaN.
      gamma: at least 0, which is cross-entropy.
      one_vs_rest: each class has the loss of its own sigmoid against all others, and a pixel the sum over the
        classes, as in detectors and in segmentation_models_pytorch.
      class_weights: as in `cross_entropy`. The paper's alpha is the weights (1 - alpha, alpha), which here
        stand in the denominator too.
      reduction, denominator: as in `cross_entropy`.

    Returns:
      A scalar, at least float32; 0 where no pixel is valid.

    Raises:
      ArrayError: shapes that do not match.
      SettingError: `gamma` is below 0, or `reduction` is unknown.
    """
    if not 0 <= gamma < float("inf"):
        raise SettingError(subject="focal: gamma", expected="a number of at least 0", got=str(gamma))
    num_classes = logits.shape[-1]
    pixels = read_pixels(logits, labels, ignore_label)
    weights = class_weights_of(class_weights, num_classes, pixels.logits.dtype)
    if one_vs_rest and num_classes > 1:
        signed = jnp.where(pixels.target, -pixels.logits, pixels.logits)
        losses = _focal(jax.nn.softplus(signed), gamma).sum(-1)
    else:
        losses = _focal(pixel_losses(pixels), gamma)
    losses = losses * jnp.where(pixels.target, weights[None, None, None], 0).sum(-1)
    total = jnp.where(pixels.wrong, jnp.nan, jnp.where(pixels.valid, losses, 0)).sum()
    if denominator is None:
        settings = {"ignore_label": ignore_label, "class_weights": class_weights, "reduction": reduction}
        denominator = loss_denominator(labels, num_classes, dtype=total.dtype, **settings)
    return total / denominator


def _focal(losses: jax.Array, gamma: float) -> jax.Array:
    """Multiplies losses -log(p) by (1 - p)**gamma."""
    missing = jnp.maximum(-jnp.expm1(-losses), jnp.finfo(losses.dtype).tiny)  # a finite slope at p = 1
    return missing**gamma * losses
