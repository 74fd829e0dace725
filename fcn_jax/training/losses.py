"""The training loss: cross-entropy of the pixels that have a class.

Source: torchvision's `references/segmentation` (`criterion`: the mean over valid pixels, the auxiliary head
at half weight); the paper's nets (Caffe's SoftmaxWithLoss, `normalize: false`: the sum over pixels, divided
by the images).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.models.layers import at_least_float32

Reduction = Literal["mean", "sum"]


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int = 255,
    class_weights: Sequence[float] | jax.Array | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: jax.Array | None = None,
) -> jax.Array:
    """Computes the softmax cross-entropy of the pixels whose label is not `ignore_label`.

    Args:
      logits: (N, H, W, C), any float dtype; computed in at least float32.
      labels: (N, H, W) integers in [0, C), or `ignore_label`. Any other label makes the result NaN.
      class_weights: (C,) weight of each class's pixels, in the sum and in the denominator.
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
    if logits.ndim != 4 or labels.shape != logits.shape[:-1]:
        raise ArrayError(
            expected="logits (N, H, W, C) and labels (N, H, W)", got=f"{logits.shape} and {labels.shape}"
        )
    if not 0 <= label_smoothing < 1:
        raise SettingError(subject="label_smoothing", expected="a share in [0, 1)", got=str(label_smoothing))
    num_classes = logits.shape[-1]
    logits = at_least_float32(logits)
    weights = _class_weights(class_weights, num_classes, logits.dtype)[None, None, None]
    labels = labels.astype(jnp.int32)
    valid = labels != ignore_label
    # A comparison rather than a gather: its gradient needs no scatter-add.
    target = labels[..., None] == _classes(labels, num_classes)
    log_probs = jax.nn.log_softmax(logits)
    losses = -jnp.where(target, log_probs * weights, 0).sum(-1)
    if label_smoothing:
        spread = -(log_probs * weights).mean(-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * spread
    wrong = valid & ((labels < 0) | (labels >= num_classes))
    total = jnp.where(wrong, jnp.nan, jnp.where(valid, losses, 0)).sum()
    if denominator is None:
        settings = {"ignore_label": ignore_label, "class_weights": class_weights, "reduction": reduction}
        denominator = loss_denominator(labels, num_classes, dtype=logits.dtype, **settings)
    return total / denominator


def loss_denominator(
    labels: jax.Array,
    num_classes: int,
    *,
    ignore_label: int = 255,
    class_weights: Sequence[float] | jax.Array | None = None,
    reduction: Reduction = "mean",
    dtype=jnp.float32,
) -> jax.Array:
    """Computes the denominator of a batch's summed loss: its valid pixels' weight, or its images.

    Args:
      labels: (N, H, W) integers.
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
    counts = ((labels[..., None] == _classes(labels, num_classes)) & (labels != ignore_label)[..., None]).sum(
        range(labels.ndim), dtype=jnp.int32
    )
    total = (counts.astype(dtype) * _class_weights(class_weights, num_classes, dtype)).sum()
    return jnp.where(total > 0, total, 1)


def fcn_loss(
    logits: Mapping[str, jax.Array], labels: jax.Array, *, aux_weight: float = 0.5, **settings
) -> jax.Array:
    """Computes a model's loss: the loss of "out", plus `aux_weight` times the loss of "aux" if present.

    Args:
      logits: what a model returns.
      labels: (N, H, W) integers.
      settings: see `cross_entropy`.
    """
    loss = cross_entropy(logits["out"], labels, **settings)
    if "aux" in logits:
        loss += aux_weight * cross_entropy(logits["aux"], labels, **settings)
    return loss


def _classes(labels: jax.Array, num_classes: int) -> jax.Array:
    """Returns 0 to C - 1 with the rank of `labels` and one more; programs may forbid to promote ranks."""
    return jnp.arange(num_classes, dtype=labels.dtype).reshape((1,) * labels.ndim + (-1,))


def _class_weights(class_weights, num_classes: int, dtype) -> jax.Array:
    if class_weights is None:
        return jnp.ones(num_classes, dtype)
    weights = jnp.asarray(class_weights, dtype)
    if weights.shape != (num_classes,):
        raise ArrayError(
            subject="class_weights", expected=f"{num_classes} numbers", got=f"shape {weights.shape}"
        )
    return weights
