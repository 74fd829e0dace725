"""Builds what a run needs from its settings: data, model, loss and optimizer."""

import logging
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from fcn_jax.datasets import Cached, DatasetError, SegmentationDataset, open_dataset
from fcn_jax.datasets.augmentation import Augmentation, Jitter
from fcn_jax.datasets.checking import quick_check
from fcn_jax.datasets.sampling import ClassSampler, class_sampler
from fcn_jax.datasets.statistics import Statistics
from fcn_jax.errors import SettingError
from fcn_jax.meta import palette_of
from fcn_jax.models import SegmentationModel
from fcn_jax.models.arrays import Structure
from fcn_jax.multiband import Multiband, with_statistics
from fcn_jax.training.class_weights import median_frequency
from fcn_jax.training.config import Config
from fcn_jax.training.losses import read_loss
from fcn_jax.training.objective import Objective
from fcn_jax.training.optimizers import GROUPS, adamw, learning_rate, read_factors, sgd, with_factors
from fcn_jax.transforms import Preset
from fcn_jax.weights.loading import fill, read_meta
from fcn_jax.weights.source import as_file
from fcn_jax.zoo import MODELS, check_name, get_model
from fcn_jax.zoo.build import start_backbone
from weights_converter import Account, CheckpointError, read_weights

logger = logging.getLogger(__name__)

CACHE_BYTES = 2 << 30  # for decoded pictures, over all workers


def open_train_set(config: Config) -> SegmentationDataset:
    """Opens the training set. A cache keeps decoded pictures in memory, as many as fit.

    Raises:
      DatasetError: the dataset cannot be opened.
    """
    train_set = _open(config, config.train_split)
    return Cached(train_set, CACHE_BYTES // max(1, config.workers))


def open_val_set(config: Config) -> SegmentationDataset:
    """Opens the validation set. Raises as `open_train_set` does."""
    return _open(config, config.val_split)


def _open(config: Config, split: str) -> SegmentationDataset:
    options = {name: getattr(config, name) for name in ("void", "values", "zero_is_void")}
    options["channels"] = config.in_channels
    return open_dataset(config.dataset, config.data_dir, split, tolerant=config.check_data, **options)


def check_data(train_set: SegmentationDataset, val_set: SegmentationDataset) -> None:
    """Makes the quick check of the data; logs what would spoil the run.

    Raises:
      DatasetError: something would stop the run, or nothing can be learnt; the message lists all of it.
    """
    report = quick_check({"train": train_set, "val": val_set})
    for finding in report.findings:
        if finding not in report.stopping:
            said = DatasetError(f"{finding.severity.value}: {finding.words()}", hint=finding.hint)
            logger.warning("%s", said)
    if report.stopping:
        hints = dict.fromkeys(finding.hint for finding in report.stopping if finding.hint)
        raise DatasetError(
            "; ".join(finding.words() for finding in report.stopping),
            hint="; ".join([*hints, "fcn-jax check lists everything (--no-check-data tries all the same)"]),
        )


def check_same_classes(train_set: SegmentationDataset, val_set: SegmentationDataset) -> None:
    """Raises DatasetError unless both datasets have the same classes in the same order."""
    if val_set.categories != train_set.categories:
        raise DatasetError(
            expected=f"a validation set with the training set's classes, {', '.join(train_set.categories)}",
            got=", ".join(val_set.categories),
        )


def build_augmentation(config: Config) -> Augmentation | None:
    """Builds the augmentation; None if pictures stay as they are."""
    if not config.augment:
        return None
    jitter = config.jitter
    return Augmentation(
        base_size=config.base_size,
        crop_size=config.crop_size,
        scale=config.scale,
        flip=config.flip,
        jitter=Jitter(brightness=jitter, contrast=jitter, saturation=jitter) if jitter else None,
    )


def build_sampler(config: Config, train_set: SegmentationDataset) -> ClassSampler | None:
    """Builds what draws pictures by their classes; None if nothing does. Raises as `class_sampler` does."""
    return class_sampler(train_set, config.crops_with, config.crops_share) if config.crops_with else None


class Start(NamedTuple):
    """What a run starts from.

    Attributes:
      model: in evaluation mode.
      loaded: names of the variables that a file filled; the others are random.
    """

    model: SegmentationModel
    loaded: frozenset[str] = frozenset()


def build_model(config: Config, categories: Sequence[str], palette: np.ndarray) -> SegmentationModel:
    """Builds the model of a run; see `build_start`."""
    return build_start(config, categories, palette).model


def build_start(
    config: Config, categories: Sequence[str], palette: np.ndarray, statistics: Statistics | None = None
) -> Start:
    """Builds the model of a run, in evaluation mode, with the classes of its dataset.

    The model is random, or has a classifier's backbone, or an earlier training's weights. If that training
    had other classes, the score layers start anew, and the log says so.

    Args:
      palette: (256, 3) uint8 colours by label.
      statistics: of the training set's channels, if pictures are read as stored. They prepare pictures,
        unless `config.weights` bring statistics of their own.

    Raises:
      SettingError: settings that the model does not have.
      CheckpointError: `config.weights` cannot be read, or belongs to another architecture.
    """
    check_name(config.model)
    num_classes = 1 if config.foreground else len(categories)
    model = get_model(config.model, **_model_settings(config, num_classes))
    loaded: frozenset[str] = frozenset()
    if config.weights is not None:
        loaded = frozenset(_fill_from(config, model, tuple(categories)).loaded)
    else:
        if model.spec.fc_features is not None:
            widen_fc(model)
        if config.weights_backbone is not None:
            loaded = frozenset(start_backbone(model, config.weights_backbone, adapt=config.adapt).loaded)
    if statistics is not None:
        _take_statistics(model, statistics, config)
    model.update_meta(
        categories=tuple(categories),
        palette=palette_of(palette, len(categories)),
        transforms=_transforms(config, transforms_of(model)),
        window=None,
    )
    if config.remat:
        model.use_remat()
    if not config.dropout:
        for _, module in nnx.iter_modules(model):
            if isinstance(module, nnx.Dropout):
                module.rate = 0.0
    return Start(model, loaded)


def _model_settings(config: Config, num_classes: int) -> dict:
    """Returns the arguments for the model's builder. Refuses settings that the model does not have."""
    published = MODELS[config.model].published
    if config.aux_loss and not published.aux_loss:
        raise SettingError(f"{config.model} has no auxiliary head", subject="aux_loss", hint="leave it out")
    settings = {"aux_loss": config.aux_loss} if published.aux_loss else {}
    for name in ("features", "fc_features"):
        width = getattr(config, name)
        if width is not None and getattr(published, name) is None:
            raise SettingError(f"{config.model} has no widths to choose", subject=name, hint="leave it out")
        if width is not None:
            settings[name] = width
    if config.weights is not None:  # that training goes on with its stem and its upsampling
        source, _ = as_file(os.fspath(config.weights), (config.model, MODELS[config.model].coarser))
        spec = read_weights(source, strict=not config.not_strict, key=config.key, aux="keep").spec
        for name in ("stem", "align_corners"):
            if getattr(spec, name) != getattr(published, name):
                settings[name] = getattr(spec, name)
    return settings | {
        "num_classes": num_classes,
        "in_channels": config.in_channels,
        "rngs": nnx.Rngs(config.seed),
        "dtype": None if config.dtype == "float32" else jnp.bfloat16,
    }


def _fill_from(config: Config, model: SegmentationModel, categories: tuple[str, ...]) -> Account:
    """Fills a model with an earlier training's weights, which may have other classes."""
    assert config.weights is not None
    path, member = as_file(os.fspath(config.weights), (model.spec.name, model.coarser))
    strict = not config.not_strict
    try:
        aux = "require" if model.spec.aux_loss else "drop"
        found = read_weights(path, strict=strict, key=config.key, aux=aux)
    except CheckpointError:  # its auxiliary head may have other classes: then the model keeps its own
        found = read_weights(path, strict=strict, key=config.key, aux="keep")
    remark = found.remark()
    if remark is not None:
        logger.info("%s: %s", path, remark)
    known = read_meta(found).categories
    if known is None and member is not None:
        known = tuple(member.meta["categories"])
    same = found.spec.num_classes == model.spec.num_classes and known in (None, categories)
    if not same:
        logger.warning("%s has other classes: its score layers are not loaded", path)
    aux = "require" if found.spec.aux_loss == model.spec.aux_loss else "keep"
    head = "require" if same else "replace"
    account = fill(model, found, head=head, aux=aux, strict=strict, adapt=config.adapt)
    fresh = [name for name, why in account.fresh.items() if why.startswith("strict=False")]
    if fresh:
        logger.warning("%s: not in the file, so with initial values: %s", path, ", ".join(fresh[:8]))
    return account


def _take_statistics(model: SegmentationModel, statistics: Statistics, config: Config) -> None:
    """Makes a model prepare pictures by the statistics of its training set, unless weights brought some."""
    if len(statistics.mean) != config.in_channels:
        raise SettingError(
            subject="in_channels",
            expected=f"{len(statistics.mean)}, as the pictures have",
            got=str(config.in_channels),
        )
    own = transforms_of(model)
    if isinstance(own, Multiband) and own.measured:
        logger.info("pictures are prepared by the statistics of %s", config.weights)
        return
    model.update_meta(transforms=with_statistics(own, statistics.mean, statistics.std))


def transforms_of(model: SegmentationModel) -> Preset:
    """Returns a model's transforms; every builder sets them."""
    assert model.transforms is not None
    return model.transforms


def _transforms(config: Config, transforms: Preset) -> Preset:
    """Returns the trained model's transforms: they resize pictures to the size used in training."""
    size = config.base_size if config.augment else None
    if size is not None and not transforms.resizes:
        raise SettingError(
            subject="base_size",
            expected=f"None, since {config.model} sees pictures at their own size, as Caffe did",
            got=str(size),
        )
    return transforms.with_resize(size)


def widen_fc(model: SegmentationModel) -> None:
    """Scales random fc6 and fc7 by He's rule, for a backbone that has none from a file.

    The builder draws them with VGG's deviation 0.01, which suits 4096 channels. With few channels almost
    nothing of a signal passes.
    """
    for layer in (model.backbone.fc6, model.backbone.fc7):
        *window, inputs, _ = layer.kernel.shape
        layer.kernel[...] *= (2 / (np.prod(window) * inputs)) ** 0.5 / 0.01


def build_objective(
    config: Config, structure: Structure, model: SegmentationModel, train_set: SegmentationDataset
) -> Objective:
    """Makes the loss.

    Args:
      structure: the model's, in training mode.
      model: its transforms normalize pictures.
      train_set: its pixels are counted if the classes have weights.
    """
    loss = read_loss(config.loss)
    loss.check(
        reduction=config.reduction,
        label_smoothing=config.label_smoothing,
        class_weights=config.class_weights != "none",
        accumulate=config.accumulate,
        binary=model.spec.num_classes == 1,
    )
    class_weights = median_frequency(train_set) if config.class_weights == "median-frequency" else None
    return Objective(
        structure=structure,
        num_classes=model.spec.num_classes,
        loss=loss,
        normalize=transforms_of(model).normalize,
        aux_weight=config.aux_weight,
        settings={
            "class_weights": class_weights,
            "label_smoothing": config.label_smoothing,
            "reduction": config.reduction,
        },
    )


def build_optimizer(
    config: Config, names: Iterable[str], steps: int
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    """Builds the learning rate and the optimizer of a run from its number of steps and parameter names.

    Raises:
      SettingError: invalid settings, such as a warmup as long as the run.
    """
    schedule = learning_rate(config.schedule, config.lr, steps, warmup_steps=round(config.warmup * steps))
    names = list(names)
    groups = with_factors(GROUPS[config.groups], read_factors(config.lr_factors), names)
    settings = {"groups": groups, "weight_decay": config.weight_decay, "clip": config.clip}
    if config.optimizer == "adamw":
        return schedule, adamw(names, schedule, **settings)
    return schedule, sgd(names, schedule, momentum=config.momentum, **settings)
