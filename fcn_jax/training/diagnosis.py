"""What to say when a training step gives a loss or a gradient that is no number."""

from collections.abc import Mapping, Sequence

import numpy as np


def diagnose(
    *,
    step: int,
    lr: float,
    losses: Sequence[float],
    loss: float,
    logits: Mapping[str, np.ndarray],
    labels: np.ndarray,
    num_classes: int,
    gradients: Mapping[str, np.ndarray],
    parameters: Mapping[str, np.ndarray],
    pictures: Sequence[str],
) -> str:
    """Says what is not finite in a step, and what to try.

    Args:
      step: its number.
      lr: its learning rate.
      losses: of the steps before it, the last twenty at least.
      loss: of the step, as computed once more.
      logits: by head, (N, H, W, C).
      labels: (N, H, W).
      num_classes: of the model.
      gradients, parameters: by name.
      pictures: names of those in the batch.

    Returns:
      Several lines of text.
    """
    wrong_labels = np.unique(labels[(labels != 255) & ((labels < 0) | (labels >= num_classes))])
    bad_parameters, bad_gradients = _not_finite(parameters), _not_finite(gradients)
    bad_logits = _not_finite(logits)
    recent = losses[-20:]
    rising = len(recent) >= 4 and np.mean(recent[-2:]) > 2 * np.median(recent)
    finite = [gradient[np.isfinite(gradient)].astype(np.float64) for gradient in gradients.values()]
    with np.errstate(over="ignore"):
        norm = np.sqrt(sum(np.square(values).sum() for values in finite))
    lines = [
        f"step {step} gave a loss or a gradient that is no number (loss {loss:g}, learning rate {lr:g}); "
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
    for name, values in logits.items():
        known = np.abs(values[np.isfinite(values)])
        lines.append(f'  largest logit of "{name}": {known.max() if known.size else np.nan:.4g}')
    lines.append(f"  norm of the gradients, as far as finite: {norm:.4g}")
    for what, bad, arrays in (
        ("parameters", bad_parameters, parameters),
        ("logits", bad_logits, logits),
        ("gradients", bad_gradients, gradients),
    ):
        if bad:
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            lines.append(
                f"  not finite among the {what}: {', '.join(bad[:3])}{more} ({len(bad)} of {len(arrays)})"
            )
    if np.isfinite(loss) and not (bad_parameters or bad_logits or bad_gradients):
        lines.append("  computed once more, loss, logits and gradients are finite")
    if wrong_labels.size:
        advice = "mend the labels of these pictures"
    elif bad_parameters and len(losses):
        advice = "the update before it was too large: try a lower --lr, a longer --warmup, or --clip 1"
    elif bad_parameters:
        advice = "start from other weights: those given are not finite"
    elif rising or norm > 1e3:
        advice = "training diverges: try a lower --lr, a longer --warmup, or --clip 1"
    else:
        advice = (
            "try a lower --lr, --clip 1, or, if it ran in bfloat16, --dtype float32; look at the pictures"
        )
    return "\n".join([*lines, f"  what to do: {advice}"])


def _not_finite(arrays: Mapping[str, np.ndarray]) -> list[str]:
    return [name for name, array in arrays.items() if not np.isfinite(array).all()]
