"""Sums of losses with weights, written as text: "ce+dice", "0.5*ce+tversky:alpha=0.3,beta=0.7"."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from fcn_jax.errors import SettingError
from fcn_jax.training.losses.boundary import boundary_cross_entropy, boundary_denominator
from fcn_jax.training.losses.cross_entropy import cross_entropy, loss_denominator
from fcn_jax.training.losses.focal import focal_loss
from fcn_jax.training.losses.lovasz import lovasz_loss
from fcn_jax.training.losses.ohem import ohem_cross_entropy
from fcn_jax.training.losses.regions import dice_loss, jaccard_loss, tversky_loss

Denominators = tuple[jax.Array | None, ...]
"""What the summed losses of a batch are divided by: one for each term, None for a loss that is no sum."""

PIXELS = {"class_weights", "reduction", "ignore_label"}
OTHERS = {"class_weights", "ignore_label"}


class Kind(NamedTuple):
    """A loss that a sum may have.

    Attributes:
      loss: computes it.
      own: {setting in the text: its type}.
      shared: which settings of all losses it takes.
      denominator: computes its denominator; None if it is no sum over pixels.
    """

    loss: Callable[..., jax.Array]
    own: Mapping[str, type]
    shared: set[str]
    denominator: Callable[..., jax.Array] | None = None


def _loss_denominator(labels: jax.Array, num_classes: int, *, gamma: float = 0, **settings) -> jax.Array:
    return loss_denominator(labels, num_classes, **settings)


KINDS = {
    "ce": Kind(cross_entropy, {}, PIXELS | {"label_smoothing"}, loss_denominator),
    "focal": Kind(focal_loss, {"gamma": float}, PIXELS, _loss_denominator),
    "boundary": Kind(boundary_cross_entropy, {"width": int}, PIXELS, boundary_denominator),
    "ohem": Kind(ohem_cross_entropy, {"threshold": float, "least": float}, OTHERS),
    "dice": Kind(dice_loss, {"present": bool}, OTHERS),
    "jaccard": Kind(jaccard_loss, {"present": bool}, OTHERS),
    "tversky": Kind(tversky_loss, {"alpha": float, "beta": float, "present": bool}, OTHERS),
    "lovasz": Kind(lovasz_loss, {}, OTHERS),
}
REGIONS = ("dice", "jaccard", "tversky", "lovasz")
"""Those that have one value for each class; for one logit only the foreground's."""


class Term(NamedTuple):
    """A loss of a sum: its weight, its name in `KINDS`, and its own settings."""

    weight: float
    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def kind(self) -> Kind:
        """The loss."""
        return KINDS[self.name]

    def with_shared(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns its own settings, and those of all losses that it takes."""
        return dict(self.settings) | {
            name: value for name, value in settings.items() if name in self.kind.shared
        }


@dataclasses.dataclass(frozen=True)
class LossSum:
    """A sum of losses of one head, each with a weight.

    Attributes:
      terms: at least one; cross-entropy alone if not given.
    """

    terms: tuple[Term, ...] = (Term(1.0, "ce"),)

    def check(
        self, *, reduction: str, label_smoothing: float, class_weights: bool, accumulate: int, binary: bool
    ) -> None:
        """Checks that every loss can do what is asked of it.

        Args:
          reduction, label_smoothing: as for `cross_entropy`.
          class_weights: whether the classes have weights.
          accumulate: number of parts that a batch is computed in.
          binary: whether the model has one logit.

        Raises:
          SettingError: a loss cannot; the message names it.
        """
        ratios = [term.name for term in self.terms if term.kind.denominator is None]
        if reduction == "sum" and ratios:
            raise SettingError(
                f"{ratios[0]} is no sum over pixels", subject="reduction", hint='choose {reduction} "mean"'
            )
        if accumulate > 1 and ratios:
            raise SettingError(
                f"{ratios[0]} is of a whole batch and cannot be computed in parts",
                subject="accumulate",
                hint="choose {accumulate} 1 and a smaller {batch_size}",
            )
        if label_smoothing and not any("label_smoothing" in term.kind.shared for term in self.terms):
            raise SettingError(
                f"only ce smooths labels, not {self.terms[0].name}",
                subject="label_smoothing",
                hint="add ce to {loss}",
            )
        if class_weights and binary and all(term.name in REGIONS for term in self.terms):
            raise SettingError(
                f"{self.terms[0].name} of one logit has one class, the foreground, and nothing to weigh",
                subject="class_weights",
                hint="leave them out, or add ce to {loss}",
            )

    def denominators(
        self, labels: jax.Array, num_classes: int, *, dtype: Any, label_smoothing: float = 0.0, **settings
    ) -> Denominators:
        """Computes the denominator of each loss from a whole batch's labels (N, H, W).

        Args:
          num_classes: of the logits.
          dtype: of the results.
          settings: class_weights, reduction and ignore_label, for the losses that take them.
        """
        found = []
        for term in self.terms:
            own, compute = term.with_shared(settings), term.kind.denominator
            found.append(None if compute is None else compute(labels, num_classes, dtype=dtype, **own))
        return tuple(found)

    def __call__(
        self, logits: jax.Array, labels: jax.Array, *, denominators: Denominators | None = None, **settings
    ) -> jax.Array:
        """Computes the sum.

        Args:
          logits: (N, H, W, C).
          labels: (N, H, W) integers.
          denominators: the whole batch's, if these are a part of it.
          settings: class_weights, label_smoothing, reduction and ignore_label, for the losses that take them.

        Returns:
          A scalar, at least float32.
        """
        total = None
        if denominators is None:
            denominators = (None,) * len(self.terms)
        for term, denominator in zip(self.terms, denominators, strict=True):
            own = term.with_shared(settings)
            if denominator is not None:
                own["denominator"] = denominator
            value = term.kind.loss(logits, labels, **own)
            value = value if term.weight == 1 else term.weight * value
            total = value if total is None else total + value
        assert total is not None, "there is at least one term"
        return total


_TERM = re.compile(r"(?:([^*]+)\*)?([a-z]+)(?::(.+))?")


def read_loss(text: str) -> LossSum:
    """Reads a sum of losses: terms joined by "+", each WEIGHT*NAME:SETTING=VALUE,...; the name is enough.

    Raises:
      SettingError: there is no such loss or setting, or a number makes no sense.
    """
    return LossSum(tuple(_read_term(term.strip()) for term in text.split("+")))


def _read_term(text: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None or match[2] not in KINDS:
        raise SettingError(
            subject="loss",
            expected=f"losses joined by +, each one of {', '.join(KINDS)}, such as 0.5*ce+dice",
            got=repr(text),
        )
    weight, name, settings = match[1], match[2], match[3]
    found = dict(_read_setting(name, part) for part in settings.split(",")) if settings else {}
    return Term(_number(weight, text) if weight else 1.0, name, tuple(found.items()))


def _read_setting(name: str, text: str) -> tuple[str, Any]:
    setting, _, value = text.partition("=")
    known = KINDS[name].own
    if setting not in known:
        raise SettingError(
            subject="loss",
            expected=f"a setting of {name}, one of {', '.join(known)}"
            if known
            else f"{name} without settings",
            got=repr(text),
        )
    number = _number(value, text, least=0.0)
    if known[setting] is not float and (number != int(number) or (known[setting] is bool and number > 1)):
        expected = "0 or 1" if known[setting] is bool else "a whole number"
        raise SettingError(subject="loss", expected=f"{expected} for {setting}", got=repr(text))
    return setting, known[setting](number)


def _number(value: str, text: str, least: float | None = None) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    above = number > 0 if least is None else number >= least
    if not (above and number < float("inf")):
        what = "a weight above 0" if least is None else "a number of at least 0"
        raise SettingError(subject="loss", expected=what, got=repr(text))
    return number
