"""Loads weights from checkpoints into models, and saves them.

    account = load_weights(model, "fcn_resnet50_coco-1167a1af.pth")
    save_weights(model, "trained.safetensors")

`weights_converter` reads and writes the files; this module assigns its arrays to a model's variables.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import jax
import numpy as np
from flax import nnx

from fcn_jax.errors import CheckpointError, SettingError, WrongTypeError
from fcn_jax.meta import WeightsMeta
from fcn_jax.models.arrays import named_variables
from fcn_jax.models.model import SegmentationModel
from fcn_jax.multiband import multiband_like
from fcn_jax.transforms import Preset
from fcn_jax.weights.adaptation import Adapt, adapted
from fcn_jax.weights.hub import hub_file
from fcn_jax.weights.published.entry import WeightsEnum
from fcn_jax.weights.source import as_file
from weights_converter import Account, Conversion, ModelSpec, Source, read_weights, save_model_file
from weights_converter.account import NOT_STRICT, match_arrays

AUX = ("aux_classifier.",)


def load_weights(
    model: SegmentationModel,
    path: WeightsEnum | Source,
    *,
    strict: bool = True,
    aux: Literal["require", "drop", "keep"] = "require",
    head: Literal["require", "replace"] = "require",
    adapt: Adapt = "require",
    key: str | None = None,
    progress: bool = True,
) -> Account:
    """Fills a model from a checkpoint of any format and names that `weights_converter` knows.

    The model changes only if everything fits. Numbers are cast to the model's dtypes. The model takes the
    file's transforms, and with the file's head also the categories and the palette.

    Args:
      model: a model with the checkpoint's architecture, from one of the builders.
      path: `.pth`, `.pt`, `.caffemodel` or `.safetensors`; or hf://user/repo, a name on the Hugging Face Hub;
        or {name: array}, a state_dict in memory; or
        published weights of the model, by name ("DEFAULT") or as a member of its enum, downloaded once. A
        file of the paper's next coarser network starts this one's training: layers it lacks get initial
        values.
      strict: missing and unexpected arrays are errors. Otherwise variables without an array keep their
        values, and arrays without a variable are dropped; the account names both. Shapes must match anyway.
      aux: "require": both or neither must have the auxiliary head; "drop" ignores the file's, for a model
        without one; "keep" keeps the model's.
      head: "require": file and model must have the same number of classes; "replace" keeps the model's layers
        that depend on the classes (score layers and upsamplings of logits), to start training on other ones.
      adapt: "require": file and model must have the same number of channels; "mean" and "zero" adapt the
        first convolution of a file for red, green and blue, see `weights.adaptation`.
      key: where the network is, if the file holds several: "model_ema".
      progress: shows a bar while downloading.

    Returns:
      What became of every array in the checkpoint and every variable in the model. Other parts of
      the file, such as an optimizer, are among those dropped.

    Raises:
      CheckpointError: the file cannot be read or does not fit; the message says why.
      SettingError: `aux` or `head` has an unknown value.
      WeightsDownloadError: published weights cannot be downloaded.
      WrongTypeError: `model` is not a model of this package, or the published weights are another model's.
    """
    check_model(model)
    _check_choice("aux", aux, ("require", "drop", "keep"))
    source, member = as_file(path, (model.spec.name, model.coarser), progress=progress)
    conversion = read_weights(source, strict=strict, key=key, aux=aux)
    account = fill(model, conversion, strict=strict, aux=aux, head=head, adapt=adapt)
    if member is not None and head == "require" and model.categories is None:
        model.update_meta(categories=member.meta["categories"])
    return account


def fill(
    model: SegmentationModel,
    conversion: Conversion,
    *,
    strict: bool = True,
    aux: Literal["require", "drop", "keep"] = "require",
    head: Literal["require", "replace"] = "require",
    adapt: Adapt = "require",
) -> Account:
    """Fills a model from a conversion; see `load_weights`."""
    _check_choice("aux", aux, ("require", "drop", "keep"))
    _check_choice("head", head, ("require", "replace"))
    starts = conversion.spec.name == model.coarser
    if not starts:
        hint = f"its training can start from a file of {model.coarser}" if model.coarser else None
        conversion = conversion.for_model(model.spec.name, hint).settled(model.spec.align_corners)
    if strict:
        _check_same_form(model.spec, conversion, aux, head)
    conversion = _adapted(conversion, model, adapt)
    variables, arrays = named_variables(model), conversion.params
    dropped, fresh = conversion.passed_over | conversion.dropped, {}
    if starts:
        fresh |= _with_prefix(
            variables, model.new_layers, f"{conversion.spec.name} does not have it; it gets initial values"
        )
        dropped |= {name: f"{model.spec.name} does not have it" for name in arrays if name not in variables}
    left_out = []
    if aux != "require":
        left_out.append((AUX, f'aux="{aux}"'))
    if head == "replace":
        left_out.append((model.class_layers, 'head="replace"'))
    for prefixes, why in left_out:
        dropped |= _with_prefix(arrays, prefixes, why)
        fresh |= _with_prefix(variables, prefixes, why)
    wanted = {name: variable.shape for name, variable in variables.items() if name not in fresh}
    used = {name: array for name, array in arrays.items() if name not in dropped}
    try:
        account = match_arrays(wanted, used, "the model", strict=strict, hint=NOT_STRICT)
        meta = _meta_after(model, conversion, with_classes=head == "require")
    except CheckpointError as error:
        raise error.about(conversion.path) from None

    assign({name: variables[name] for name in account.loaded}, used)
    if starts and head == "require":
        model.start_new_layers()
    model.meta = meta
    return Account(account.loaded, dropped | account.dropped, fresh | account.fresh)


def load_backbone(model: SegmentationModel, source: Source, *, adapt: Adapt = "require") -> Account:
    """Fills `model.backbone` from an ImageNet classifier's checkpoint, without the last layer.

    A VGG16 without fc6 and fc7 fills the convolutions; the other two keep their values, and the account names
    them as fresh. The model gets the transforms that the classifier's weights expect.

    Args:
      adapt: see `load_weights`.

    Returns:
      What became of every array in the checkpoint and every variable in the model.

    Raises:
      CheckpointError: the file cannot be read, or is not a classifier of this depth and width.
    """
    conversion = _adapted(read_weights(hub_file(source), backbone=True), model, adapt)
    expected = model.backbone_spec
    if expected is None or conversion.spec not in (expected, expected.trunk):
        raise CheckpointError(
            expected=f"a backbone, {expected}" if expected else f"no weights of a backbone for {model.spec}",
            got=str(conversion.spec),
            hint=None if expected else "fcn_r50_d8 and its like take torchvision's with stem='torchvision'",
            path=conversion.path,
        )
    variables = named_variables(model.backbone)
    filled = {name: variable for name, variable in variables.items() if name in conversion.params}
    assign(filled, conversion.params)
    model.update_meta(transforms=default_transforms(model, conversion.preset))
    loaded = tuple(f"backbone.{name}" for name in filled)
    fresh = {
        name: "the file has the convolutions alone"
        if name.startswith("backbone.")
        else "not part of a backbone"
        for name in named_variables(model)
        if name not in loaded
    }
    return Account(loaded, dict(conversion.dropped), fresh)


def save_weights(
    model: SegmentationModel,
    path: str | os.PathLike,
    *,
    categories: Sequence[str] | None = None,
    transforms: Preset | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Writes a model's weights: `.safetensors` (our format), or `.pth` / `.pt` for PyTorch.

    The file appears whole or not at all, after it was read back and compared. A safetensors file also holds
    the model's spec and its `meta`: transforms, categories, palette.

    Args:
      model: a model from one of the builders.
      path: the file to write.
      categories: class names for a safetensors file; the model's own if not given.
      transforms: the preset for a safetensors file; the model's own if not given.
      facts: more metadata for a safetensors file, {name: text}.

    Raises:
      CheckpointError: the suffix is unknown, or the file cannot be written.
      SettingError: there are not as many categories as classes. Nothing is written.
      WrongTypeError: `model` is not a model of this package, or `transforms` is not a preset.
    """
    check_model(model)
    meta = model.meta
    if categories is not None:
        meta = dataclasses.replace(meta, categories=tuple(categories))
    if transforms is not None:
        if not isinstance(transforms, Preset):
            raise WrongTypeError(
                subject="transforms", expected="a preset of fcn_jax.transforms", got=repr(transforms)
            )
        meta = dataclasses.replace(meta, transforms=transforms)
    meta.check(model.spec.num_classes)
    metadata = {**(facts or {}), **meta.to_metadata()}
    if meta.transforms is not None:
        metadata["preset"] = meta.transforms.origin
    arrays = {name: np.asarray(variable[...]) for name, variable in named_variables(model).items()}
    save_model_file(path, arrays, model.spec, metadata)


def assign(variables: Mapping[str, nnx.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Sets each variable to a copy of the array with its name, in the variable's dtype."""
    for name, variable in variables.items():
        # Always copy with NumPy: the arrays are views of the mapped file, and JAX may share aligned memory.
        # `jnp.array` would compile a program for each shape to copy.
        variable.set_value(jax.device_put(np.array(arrays[name], variable.dtype, order="C")))


def _adapted(conversion: Conversion, model: SegmentationModel, adapt: Adapt) -> Conversion:
    bgr = model.default_transforms(conversion.preset).origin == "caffe"
    return adapted(conversion, model.spec.in_channels, adapt, bgr=bgr)


def default_transforms(model: SegmentationModel, preset: str | None) -> Preset:
    """Returns the transforms that fit weights of a preset, for as many channels as the model has."""
    transforms = model.default_transforms(preset)
    channels = model.spec.in_channels
    return transforms if channels == 3 else multiband_like(transforms, channels)


def check_model(model: SegmentationModel) -> None:
    """Raises WrongTypeError unless this is a model of this package."""
    if not isinstance(model, SegmentationModel):
        raise WrongTypeError(
            expected="a model of fcn_jax",
            got=type(model).__name__,
            hint="the model comes first, then the path",
        )


def read_meta(conversion: Conversion) -> WeightsMeta:
    """Reads the record of transforms, categories and palette from a file's metadata.

    Raises:
      CheckpointError: the metadata make no sense.
    """
    try:
        return WeightsMeta.from_metadata(conversion.metadata, conversion.spec.num_classes)
    except SettingError as error:
        raise CheckpointError(f"its metadata are not as expected: {error}", conversion.path) from error


def _meta_after(model: SegmentationModel, conversion: Conversion, with_classes: bool) -> WeightsMeta:
    """Returns the model's new record: the file's entries, and the model's own where the file has none.

    Names and colours of classes go together, and so do transforms and window. If the file has a preset but no
    transforms, the model takes its default transforms for this preset.
    """
    found, meta = read_meta(conversion), model.meta
    transforms = found.transforms
    if transforms is None and conversion.preset is not None:
        transforms = model.default_transforms(conversion.preset)
    if transforms is not None and model.spec.in_channels != 3:
        transforms = multiband_like(transforms, model.spec.in_channels)
    if transforms is not None:
        meta = dataclasses.replace(meta, transforms=transforms, window=found.window)
    if with_classes:
        meta = dataclasses.replace(meta, threshold=found.threshold)
    if with_classes and (found.categories or found.palette):
        meta = dataclasses.replace(meta, categories=found.categories, palette=found.palette)
    try:
        meta.check(model.spec.num_classes)
    except SettingError as error:
        raise CheckpointError(f"its metadata do not fit the model: {error}") from error
    return meta


def _with_prefix(names: Iterable[str], prefixes: tuple[str, ...], why: str) -> dict[str, str]:
    return {name: why for name in names if name.startswith(prefixes)}


def _check_same_form(expected: ModelSpec, conversion: Conversion, aux: str, head: str) -> None:
    found, hint = conversion.spec, None
    if found.align_corners != expected.align_corners:
        hint = f"build the model with align_corners={found.align_corners}"
    elif found.num_classes != expected.num_classes and head == "require":
        hint = 'build the model with as many classes, or pass head="replace"'
    elif expected.aux_loss and aux == "drop":
        hint = 'aux="drop" is for a model without aux_classifier: pass aux="keep" to leave this one as it is'
    elif found.aux_loss and not expected.aux_loss and aux == "require":
        hint = 'pass aux="drop", or build the model with aux_loss=True'
    elif expected.aux_loss and not found.aux_loss and aux != "keep":
        hint = 'pass aux="keep" to leave the model\'s aux_classifier as it is'
    if hint:
        raise CheckpointError(f"the model is {expected}, the file {found}", conversion.path, hint=hint)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(subject=name, expected=f"one of {', '.join(map(repr, choices))}", got=repr(value))
