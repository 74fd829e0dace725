"""What a run starts from: its model and its optimizer, from its settings.

The model is random, or has a classifier's backbone, or the weights of an earlier training.
"""

import dataclasses
from collections.abc import Callable, Iterable

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from fcn_jax.models import SkipFCN
from fcn_jax.training.config import Config, has_aux
from fcn_jax.training.optimizers import GROUPS, adamw, learning_rate, sgd
from fcn_jax.transforms import Preset
from fcn_jax.weights.loading import fill, read_meta, read_weights
from fcn_jax.zoo import get_model


def build_model(
    config: Config, categories: tuple[str, ...], *, say: Callable[[str], None] = lambda message: None
) -> nnx.Module:
    """Builds the model of a run, in evaluation mode, with the categories of its dataset.

    Args:
      say: told if the weights to start from are of other classes, so that score layers start anew.

    Raises:
      ValueError: settings that the model does not have.
      CheckpointError: `config.weights` cannot be read, or are of another architecture.
    """
    num_classes = len(categories)
    settings = {"rngs": nnx.Rngs(config.seed), "dtype": None if config.dtype == "float32" else jnp.bfloat16}
    widths = {"features": config.features, "fc_features": config.fc_features}
    if has_aux(config.model):
        if any(width is not None for width in widths.values()):
            raise ValueError(f"features, fc_features: {config.model} has no widths to choose, leave them out")
        settings["aux_loss"] = config.aux_loss
    else:
        if config.aux_loss:
            raise ValueError(f"aux_loss: {config.model} has no auxiliary head, leave it out")
        settings |= widths
    if config.weights is None:
        model = get_model(
            config.model, num_classes=num_classes, weights_backbone=config.weights_backbone, **settings
        )
        if isinstance(model, SkipFCN) and config.weights_backbone is None:
            widen_fc(model)
    else:
        found = read_weights(config.weights)
        model = get_model(config.model, num_classes=num_classes, **settings)
        known = read_meta(found).categories
        same = found.spec.num_classes == num_classes and known in (None, tuple(categories))
        if not same:
            say(f"{config.weights} is of other classes: its score layers stay behind")
        had_aux, wants_aux = found.spec.aux_loss, config.aux_loss
        aux = "require" if had_aux == wants_aux else "drop" if had_aux else "keep"
        fill(model, found, head="require" if same else "replace", aux=aux)
    model.update_meta(categories=tuple(categories), transforms=_transforms(config, model.transforms))
    model.backbone.remat = config.remat
    return model


def _transforms(config: Config, transforms: Preset) -> Preset:
    """Prepares pictures for the trained model at the size that it was trained at."""
    size = config.base_size if config.augment else None
    if hasattr(transforms, "resize_size"):
        return dataclasses.replace(transforms, resize_size=size)
    if size is not None:
        raise ValueError(
            "base_size: expected None, since "
            f"{config.model} sees pictures at their own size, as Caffe did; got {size}"
        )
    return transforms


def build_optimizer(
    config: Config, names: Iterable[str], steps: int
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    """Builds the learning rate and the optimizer of a run of so many steps, for parameters of these names.

    Raises:
      ValueError: settings that make no sense, such as a warmup as long as the run.
    """
    schedule = learning_rate(config.schedule, config.lr, steps, warmup_steps=round(config.warmup * steps))
    settings = {"groups": GROUPS[config.groups], "weight_decay": config.weight_decay, "clip": config.clip}
    if config.optimizer == "adamw":
        return schedule, adamw(names, schedule, **settings)
    return schedule, sgd(names, schedule, momentum=config.momentum, **settings)


def widen_fc(model: SkipFCN) -> None:
    """Draws fc6 and fc7 wider, by He's rule, for a trunk that is trained from scratch.

    The deviation 0.01 that they are drawn with is VGG's, for 4096 channels; through few channels it lets next
    to nothing of a signal pass.
    """
    for layer in (model.backbone.fc6, model.backbone.fc7):
        *window, inputs, _ = layer.kernel.shape
        layer.kernel[...] *= (2 / (np.prod(window) * inputs)) ** 0.5 / 0.01
