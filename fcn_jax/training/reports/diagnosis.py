"""Explains why a training step gave a loss or a gradient that is not finite."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.models.arrays import Arrays
from fcn_jax.training.objective import Batch, Objective

CALMER = "try a lower {lr}, a longer {warmup}, or {clip} 1"


class Inspection(NamedTuple):
    """Facts about a batch's loss and gradients; every host has the same numbers.

    Attributes:
      loss: of the batch.
      gradient_norm: norm of the gradients' finite numbers.
      largest: {head: largest absolute value of its finite logits; NaN if none is finite}.
      finite: {"parameters", "logits", "gradients": {name: whether all its numbers are finite}}.
    """

    loss: jax.Array
    gradient_norm: jax.Array
    largest: Mapping[str, jax.Array]
    finite: Mapping[str, Mapping[str, jax.Array]]


def inspect(
    objective: Objective, params: Arrays, rest: Arrays, batch: Batch, parts: Iterable[Batch]
) -> Inspection:
    """Computes a step once more, without an update and part by part, to find what is wrong."""

    @jax.jit
    def look(params, rest, part, denominator, sums):
        differentiate = jax.value_and_grad(objective, has_aux=True)
        (loss, (rest, logits)), gradients = differentiate(params, rest, part, denominator)
        sums = jax.tree.map(jnp.add, sums, gradients)
        return summarize(loss, logits, sums, params), rest, sums

    denominator = jax.jit(objective.denominator)(params, batch["labels"])
    sums, found = jax.tree.map(jnp.zeros_like, params), []
    for part in parts:
        seen, rest, sums = look(params, rest, part, denominator, sums)
        found.append(jax.device_get(seen))
    last = found[-1]  # its gradients are the sum over all parts
    return last._replace(
        loss=sum(seen.loss for seen in found),
        largest={
            name: functools.reduce(np.fmax, (seen.largest[name] for seen in found)) for name in last.largest
        },
        finite=last.finite
        | {"logits": {name: all(seen.finite["logits"][name] for seen in found) for name in last.largest}},
    )


def summarize(loss, logits: Arrays, gradients: Arrays, parameters: Arrays) -> Inspection:
    """Computes the facts that `diagnose` reports."""
    largest = jnp.nanmax(jnp.stack(list(map(_largest, gradients.values()))))
    scale = jnp.where(largest > 2.0**32, 2.0**64, 1)  # squares of large numbers would exceed float32
    known = (jnp.where(jnp.isfinite(values), values, 0) / scale for values in gradients.values())
    arrays = {"parameters": parameters, "logits": logits, "gradients": gradients}
    return Inspection(
        loss=loss,
        gradient_norm=scale * jnp.sqrt(sum(jnp.square(values).sum() for values in known)),
        largest=jax.tree.map(_largest, logits),
        finite=jax.tree.map(lambda values: jnp.isfinite(values).all(), arrays),
    )


def _largest(values: jax.Array) -> jax.Array:
    """Returns the largest absolute value of the finite numbers; NaN if there are none."""
    return jnp.nanmax(jnp.where(jnp.isfinite(values), jnp.abs(values), jnp.nan))


def diagnose(
    found: Inspection,
    *,
    step: int,
    lr: float,
    losses: Sequence[float],
    labels: np.ndarray,
    num_classes: int,
    pictures: Sequence[str],
) -> tuple[str, str]:
    """Explains what is not finite in a step, and what to try.

    Args:
      found: what `inspect` returned for the step.
      step: its number.
      lr: its learning rate.
      losses: losses of the steps before it, at least the last twenty.
      labels: (N, H, W), of the batch or this host's share.
      num_classes: of the model.
      pictures: names of the pictures in the batch, or in this host's share.

    Returns:
      Several lines of text; and advice, which names settings in braces, as in "a lower {lr}".
    """
    wrong_labels = np.unique(labels[(labels != 255) & ((labels < 0) | (labels >= num_classes))])
    bad = {what: [name for name, good in flags.items() if not good] for what, flags in found.finite.items()}
    loss, norm = float(found.loss), float(found.gradient_norm)
    recent = losses[-20:]
    rising = len(recent) >= 4 and bool(np.mean(recent[-2:]) > 2 * np.median(recent))
    lines = [
        f"step {step} gave a loss or a gradient that is not finite (loss {loss:g}, learning rate {lr:g}); "
        "its update was not made, and the weights before it are saved",
        f"  losses before it: {', '.join(f'{value:.4g}' for value in losses[-6:]) or 'none'}",
        f"  pictures in its batch: {', '.join(pictures[:8])}{', ...' if len(pictures) > 8 else ''}",
    ]
    if rising:
        lines.append(
            f"  the loss was rising: the median of the last {len(recent)} is {np.median(recent):.4g}"
        )
    if wrong_labels.size:
        lines.append(f"  labels beyond the {num_classes} classes: {', '.join(map(str, wrong_labels[:8]))}")
    for name, largest in found.largest.items():
        lines.append(f'  largest logit of "{name}": {largest:.4g}')
    lines.append(f"  norm of the gradients' finite numbers: {norm:.4g}")
    for what, names in bad.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            of = len(found.finite[what])
            lines.append(
                f"  not finite among the {what}: {', '.join(names[:3])}{more} ({len(names)} of {of})"
            )
    if np.isfinite(loss) and not any(bad.values()):
        lines.append("  in a second computation, loss, logits and gradients are finite")
    advice = _advice(bool(wrong_labels.size), bool(bad["parameters"]), bool(losses), rising or norm > 1e3)
    return "\n".join(lines), advice


def _advice(wrong_labels: bool, bad_parameters: bool, trained: bool, diverging: bool) -> str:
    if wrong_labels:
        return "correct the labels of these pictures"
    if bad_parameters and trained:
        return f"the update before it was too large: {CALMER}"
    if bad_parameters:
        return "start from other weights: the given ones are not finite"
    if diverging:
        return f"training diverges: {CALMER}"
    return "try a lower {lr}, {clip} 1, or {dtype} float32 if it ran in bfloat16; look at the pictures"
