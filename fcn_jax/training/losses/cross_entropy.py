"""Cross-entropy of the pixels that have a class.

Source: torchvision's `references/segmentation` (`criterion`: the mean over valid pixels, the auxiliary head
at half weight); the paper's nets (Caffe's SoftmaxWithLoss, `normalize: false`: the sum over pixels, divided
by the images).
"""

from typing import Literal

import jax
import jax.numpy as jnp

from fcn_jax.errors import SettingError
from fcn_jax.training.losses.pixels import ClassWeights, class_weights_of, label_axis, num_labels, read_pixels

Reduction = Literal["mean", "sum"]


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int = 255,
    class_weights: ClassWeights = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: jax.Array | None = None,
) -> jax.Array:
    """Computes the softmax cross-entropy of the pixels whose label is not `ignore_label`.

    One logit z counts as the logits (0, z) of background and foreground: the sigmoid's binary cross-entropy.

    Args:
      logits: (N, H, W, C), any float dtype; computed in at least float32.
      labels: (N, H, W) integers in [0, C), or [0, 1] for one logit, or `ignore_label`. Any other label makes
        the result NaN.
      class_weights: (C,) weight of each class's pixels, in the sum and in the denominator; two for one logit.
      label_smoothing: in [0, 1): this share of the target is spread evenly over all classes.
      reduction: "mean" over the valid pixels, weighted if there are weights, as torch's; "sum" over the
        pixels divided by the number of images, as Caffe's with `normalize: false`.
      denominator: divides the sum; `loss_denominator(labels, ...)` if not given. If `logits` are a part of a
        batch, give the whole batch's denominator.

    Returns:
      A scalar, at least float32; 0 where no pixel is valid.

    Raises:
      ArrayError: shapes that do not match.
      SettingError: a setting out of range.

    Source: `torch.nn.functional.cross_entropy`.
    """
    pixels = read_pixels(logits, labels, ignore_label)
    if not 0 <= label_smoothing < 1:
        raise SettingError(subject="label_smoothing", expected="a share in [0, 1)", got=str(label_smoothing))
    weights = class_weights_of(class_weights, logits.shape[-1], pixels.logits.dtype)[None, None, None]
    log_probs = jax.nn.log_softmax(pixels.logits)
    losses = -jnp.where(pixels.target, log_probs * weights, 0).sum(-1)
    if label_smoothing:
        spread = -(log_probs * weights).mean(-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * spread
    total = jnp.where(pixels.wrong, jnp.nan, jnp.where(pixels.valid, losses, 0)).sum()
    if denominator is None:
        settings = {"ignore_label": ignore_label, "class_weights": class_weights, "reduction": reduction}
        denominator = loss_denominator(labels, logits.shape[-1], dtype=total.dtype, **settings)
    return total / denominator


def loss_denominator(
    labels: jax.Array,
    num_classes: int,
    *,
    ignore_label: int = 255,
    class_weights: ClassWeights = None,
    reduction: Reduction = "mean",
    dtype=jnp.float32,
) -> jax.Array:
    """Computes the denominator of a batch's summed loss: its valid pixels' weight, or its images.

    Args:
      labels: (N, H, W) integers.
      num_classes: of the logits; 1 for one logit.
      dtype: of the result.

    Returns:
      A scalar above 0: 1 where no pixel is valid.

    Raises:
      SettingError: an unknown reduction.
    """
    if reduction == "sum":
        return jnp.asarray(labels.shape[0], dtype)
    if reduction != "mean":
        raise SettingError(subject="reduction", expected='"mean" or "sum"', got=repr(reduction))
    # Pixels are counted class by class as integers: a float32 sum of ones stops at 2**24.
    classes = label_axis(labels, num_labels(num_classes))
    counts = ((labels[..., None] == classes) & (labels != ignore_label)[..., None]).sum(
        range(labels.ndim), dtype=jnp.int32
    )
    total = (counts.astype(dtype) * class_weights_of(class_weights, num_classes, dtype)).sum()
    return jnp.where(total > 0, total, 1)
