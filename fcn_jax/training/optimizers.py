"""Optimizers for `{name: array}` parameters: torchvision's SGD, the paper's, and AdamW; schedules.

The recipes differ only in data: the factor of a parameter's learning rate, and whether the parameter decays.
Both depend on the parameter's name.

Source: torchvision's `references/segmentation/train.py` (`params_to_optimize`, the poly schedule, the linear
warmup); the solvers and net definitions of the paper's authors; Loshchilov and Hutter (2019).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fcn_jax.errors import SettingError

Schedule = Literal["poly", "constant", "cosine"]
WARMUP_START = 0.01  # share of the learning rate, as torchvision's --lr-warmup-decay


class Groups(NamedTuple):
    """How the optimizer treats each parameter, by its name.

    Attributes:
      scale: returns the factor of the parameter's learning rate.
      decays: returns whether weight decay applies to the parameter.
    """

    scale: Callable[[str], float]
    decays: Callable[[str], bool]


def _is_vector(name: str) -> bool:
    return name.rpartition(".")[2] in ("bias", "scale")


GROUPS = {
    # The auxiliary head learns ten times as fast; everything decays, batch norm and biases too.
    "torchvision": Groups(
        scale=lambda name: 10.0 if name.startswith("aux_classifier.") else 1.0,
        decays=lambda name: True,
    ),
    # `param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }` of every layer.
    "paper": Groups(
        scale=lambda name: 2.0 if name.endswith(".bias") else 1.0,
        decays=lambda name: not name.endswith(".bias"),
    ),
    # In voc-fcn-alexnet only score_fr has these factors.
    "paper-alexnet": Groups(
        scale=lambda name: 2.0 if name == "score_fr.bias" else 1.0,
        decays=lambda name: name != "score_fr.bias",
    ),
    # As is usual with AdamW: kernels decay, biases and batch norm do not.
    "kernels": Groups(scale=lambda name: 1.0, decays=lambda name: not _is_vector(name)),
}


def with_factors(groups: Groups, factors: Mapping[str, float], names: Iterable[str]) -> Groups:
    """Multiplies the learning rates of parts of a model, beside what the groups say.

    Args:
      factors: {beginning of parameter names: factor}; the longest beginning that fits counts.
      names: of all parameters that learn.

    Raises:
      SettingError: no parameter that learns has a name that begins so.
    """
    names = list(names)
    for prefix in factors:
        if not any(name.startswith(prefix) for name in names):
            raise SettingError(
                subject="lr_factors",
                expected="the beginning of the name of a parameter that learns, such as "
                + ", ".join(dict.fromkeys(name.split(".")[0] for name in names)),
                got=repr(prefix),
            )

    def scale(name: str) -> float:
        fitting = [prefix for prefix in factors if name.startswith(prefix)]
        return groups.scale(name) * (factors[max(fitting, key=len)] if fitting else 1.0)

    return groups._replace(scale=scale)


def read_factors(texts: Iterable[str]) -> dict[str, float]:
    """Reads "backbone=0.1" as {"backbone": 0.1}.

    Raises:
      SettingError: a text is not of this form, its number is not above 0, or a beginning comes twice.
    """
    factors: dict[str, float] = {}
    for text in texts:
        prefix, separator, number = text.partition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = 0.0
        if not (prefix and separator and 0 < factor < float("inf")) or prefix in factors:
            raise SettingError(
                subject="lr_factors",
                expected="beginnings of names and factors above 0, such as backbone=0.1, each once",
                got=repr(text),
                hint="{freeze} leaves parameters as they are",
            )
        factors[prefix] = factor
    return factors


def learning_rate(
    kind: Schedule, lr: float, steps: int, *, warmup_steps: int = 0, power: float = 0.9
) -> optax.Schedule:
    """Returns the learning rate as a function of the step, from 0 to `steps` - 1.

    Args:
      kind: "poly" is lr * (1 - t / T) ** power, "cosine" half a wave from lr to 0, "constant" lr.
      steps: of the whole training.
      warmup_steps: number of first steps, which rise linearly from a hundredth of lr; T is the rest.

    Raises:
      SettingError: an unknown kind, or no steps left after the warmup.
    """
    rest = steps - warmup_steps
    if warmup_steps < 0 or rest < 1:
        raise SettingError(
            subject="warmup",
            expected="fewer steps than the training has",
            got=f"{warmup_steps} of {steps} steps",
        )
    if kind == "poly":
        schedule = optax.polynomial_schedule(lr, 0.0, power, rest)
    elif kind == "cosine":
        schedule = optax.cosine_decay_schedule(lr, rest)
    elif kind == "constant":
        schedule = optax.constant_schedule(lr)
    else:
        raise SettingError(subject="schedule", expected='"poly", "cosine" or "constant"', got=repr(kind))
    if warmup_steps:
        warmup = optax.linear_schedule(WARMUP_START * lr, lr, warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [warmup_steps])
    # From an integer step Optax computes in float32, even if JAX uses float64.
    return lambda step: schedule(jnp.asarray(step, float))


def sgd(
    names: Iterable[str],
    schedule: optax.Schedule,
    *,
    groups: Groups,
    momentum: float,
    weight_decay: float,
    clip: float | None = None,
) -> optax.GradientTransformation:
    """Makes torch's SGD: the gradient includes the decay, the momentum excludes the learning rate.

    Caffe's momentum includes the learning rate. If the rate is constant, as in the paper, both are the same.

    Args:
      names: of all parameters.
      clip: largest norm of the whole gradient, before the decay; none if not given.
    """
    names = list(names)
    return optax.chain(
        *([] if clip is None else [optax.clip_by_global_norm(clip)]),
        optax.add_decayed_weights(weight_decay, {name: groups.decays(name) for name in names}),
        optax.trace(momentum),
        scale_by_name({name: groups.scale(name) for name in names}),
        optax.scale_by_learning_rate(schedule),
    )


def adamw(
    names: Iterable[str],
    schedule: optax.Schedule,
    *,
    groups: Groups,
    weight_decay: float,
    clip: float | None = None,
) -> optax.GradientTransformation:
    """Makes AdamW with the usual betas (0.9, 0.999); arguments as in `sgd`."""
    names = list(names)
    return optax.chain(
        *([] if clip is None else [optax.clip_by_global_norm(clip)]),
        optax.scale_by_adam(),
        optax.add_decayed_weights(weight_decay, {name: groups.decays(name) for name in names}),
        scale_by_name({name: groups.scale(name) for name in names}),
        optax.scale_by_learning_rate(schedule),
    )


def scale_by_name(scales: dict[str, float]) -> optax.GradientTransformation:
    """Multiplies the update of each parameter by its own number."""
    return optax.stateless(
        lambda updates, params: jax.tree.map(lambda update, scale: update * scale, updates, scales)
    )
