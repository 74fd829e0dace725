"""Losses of segmentation: over pixels, over regions, and sums of them.

| name     | loss                                                      | over                             |
|----------|-----------------------------------------------------------|----------------------------------|
| ce       | cross-entropy                                             | the pixels of the batch          |
| focal    | cross-entropy, less of it for pixels that are easy        | the pixels of the batch          |
| boundary | cross-entropy of the pixels near another class            | the pixels of the batch          |
| ohem     | cross-entropy of the hardest pixels                       | the batch: it ranks all pixels   |
| dice     | 1 - Dice's coefficient of each class                      | the batch: each class's region   |
| jaccard  | 1 - intersection over union of each class                 | the batch: each class's region   |
| tversky  | as Dice, with a weight for false positives and negatives  | the batch: each class's region   |
| lovasz   | Lovasz's extension of 1 - intersection over union         | the batch: it ranks all pixels   |

All compute in at least float32, leave out void pixels, and are 0 where nothing else is left. One logit, (N,
H, W, 1), tells foreground (label 1) from background (label 0) by its sigmoid; several are classes of a
softmax. On several devices the batch is the whole batch of a step. The first three losses are sums over
pixels, so parts of a batch add up to its loss; the others are not.
"""

from fcn_jax.training.losses.boundary import boundary_cross_entropy, near_boundary
from fcn_jax.training.losses.cross_entropy import Reduction, cross_entropy, loss_denominator
from fcn_jax.training.losses.focal import focal_loss
from fcn_jax.training.losses.heads import fcn_loss
from fcn_jax.training.losses.lovasz import lovasz_loss
from fcn_jax.training.losses.ohem import ohem_cross_entropy
from fcn_jax.training.losses.regions import dice_loss, jaccard_loss, tversky_loss
from fcn_jax.training.losses.sums import LossSum, read_loss

__all__ = [
    "LossSum",
    "Reduction",
    "boundary_cross_entropy",
    "cross_entropy",
    "dice_loss",
    "fcn_loss",
    "focal_loss",
    "jaccard_loss",
    "loss_denominator",
    "lovasz_loss",
    "near_boundary",
    "ohem_cross_entropy",
    "read_loss",
    "tversky_loss",
]
