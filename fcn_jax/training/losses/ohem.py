"""Cross-entropy of the hardest pixels of a batch (online hard example mining).

Source: Shrivastava, Gupta and Girshick, "Training region-based object detectors with online hard example
mining" (2016); for pixels in the form of the authors of HRNet (`OhemCrossEntropy`).
"""

import jax
import jax.numpy as jnp

from fcn_jax.errors import SettingError
from fcn_jax.training.losses.cross_entropy import cross_entropy
from fcn_jax.training.losses.pixels import ClassWeights, pixel_losses, read_pixels


def ohem_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    threshold: float = 0.7,
    least: float = 0.0625,
    ignore_label: int = 255,
    class_weights: ClassWeights = None,
) -> jax.Array:
    """Computes the mean cross-entropy of the pixels whose label has a probability below `threshold`.

    If these are fewer than a share `least` of the valid pixels, the threshold rises to the probability at
    that place in their order, so that about so many count.

    Args:
      logits: (N, H, W, C), any float dtype; computed in at least float32.
      labels: (N, H, W) integers in [0, C), or [0, 1] for one logit, or `ignore_label`. Any other label makes
        the result NaN.
      threshold: of the probability, in (0, 1].
      least: a share in [0, 1].
      class_weights: as in `cross_entropy`, of the pixels that count.

    Returns:
      A scalar, at least float32; 0 where no pixel counts.

    Raises:
      ArrayError: shapes that do not match.
      SettingError: a setting out of range.
    """
    if not 0 < threshold <= 1:
        raise SettingError(subject="ohem: threshold", expected="a probability above 0", got=str(threshold))
    if not 0 <= least <= 1:
        raise SettingError(subject="ohem: least", expected="a share from 0 to 1", got=str(least))
    pixels = read_pixels(logits, labels, ignore_label)
    losses = jax.lax.stop_gradient(pixel_losses(pixels))
    ranked = jnp.sort(jnp.where(pixels.valid, losses, -1).ravel(), descending=True)  # void pixels come last
    count = pixels.valid.sum(dtype=jnp.int32)
    place = jnp.minimum((least * count).astype(jnp.int32), jnp.maximum(count - 1, 0))
    bound = jnp.minimum(-jnp.log(jnp.asarray(threshold, losses.dtype)), ranked[place])
    keep = pixels.valid & ((losses > bound) | pixels.wrong)
    return cross_entropy(
        logits,
        jnp.where(keep, labels.astype(jnp.int32), ignore_label),
        ignore_label=ignore_label,
        class_weights=class_weights,
    )
