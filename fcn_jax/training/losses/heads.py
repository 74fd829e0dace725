"""The loss of a model with one head or two."""

from collections.abc import Callable, Mapping

import jax

from fcn_jax.training.losses.cross_entropy import cross_entropy


def fcn_loss(
    logits: Mapping[str, jax.Array],
    labels: jax.Array,
    *,
    aux_weight: float = 0.5,
    loss: Callable[..., jax.Array] = cross_entropy,
    **settings,
) -> jax.Array:
    """Computes a model's loss: the loss of "out", plus `aux_weight` times the loss of "aux" if present.

    Args:
      logits: what a model returns.
      labels: (N, H, W) integers.
      loss: of one head's logits and the labels: `cross_entropy`, or a `LossSum`.
      settings: for `loss`.
    """
    total = loss(logits["out"], labels, **settings)
    if "aux" in logits:
        total += aux_weight * loss(logits["aux"], labels, **settings)
    return total
