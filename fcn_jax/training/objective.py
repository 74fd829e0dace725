"""The loss that training minimizes, as a pure function of arrays by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from fcn_jax.models.arrays import Arrays, Structure
from fcn_jax.models.layers import wide
from fcn_jax.training.losses import LossSum, fcn_loss
from fcn_jax.training.losses.sums import Denominators

Batch = dict[str, jax.Array]
"""{"images": (N, H, W, C), "labels": (N, H, W)}"""


@dataclass(frozen=True, kw_only=True, eq=False)  # so that it can be jitted
class Objective:
    """A model's loss on a batch.

    Attributes:
      structure: of the model in training mode.
      num_classes: of the model; 1 for one logit.
      loss: of one head; cross-entropy if not given.
      normalize: prepares a batch's images for the model: a preset's `normalize` for uint8.
      aux_weight: of the auxiliary head's loss.
      settings: for the loss: class_weights, label_smoothing, reduction, ignore_label.
    """

    structure: Structure
    num_classes: int
    normalize: Callable[[jax.Array], jax.Array] = lambda images: images
    loss: LossSum = field(default_factory=LossSum)
    aux_weight: float = 0.5
    settings: Mapping[str, Any] = field(default_factory=dict)

    def denominator(self, params: Arrays, labels: jax.Array) -> Denominators:
        """Computes what the summed losses of a whole batch are divided by."""
        dtype = wide(jnp.result_type(*params.values()))
        return self.loss.denominators(labels, self.num_classes, dtype=dtype, **self.settings)

    def __call__(
        self, params: Arrays, rest: Arrays, batch: Batch, denominator: Denominators
    ) -> tuple[jax.Array, tuple[Arrays, dict[str, jax.Array]]]:
        """Computes the loss of a batch, or of a part of one. The `denominator` is the whole batch's.

        Returns:
          The loss; and `rest` with the model's updates, and the logits.
        """
        model = self.structure.merge(params | rest)
        logits = model(self.normalize(batch["images"]))
        loss = fcn_loss(
            logits,
            batch["labels"],
            aux_weight=self.aux_weight,
            loss=self.loss,
            denominators=denominator,
            **self.settings,
        )
        return loss, (self.structure.split(model)[1], logits)
