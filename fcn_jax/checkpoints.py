"""Weights between files and models.

    report = load_weights(model, "fcn_resnet50_coco-1167a1af.pth")
    save_weights(model, "trained.safetensors")

`weights_converter` reads and writes the files; here its arrays meet the variables of a model.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from fcn_jax.models.deconvolution import bilinear
from fcn_jax.models.layers import Fixed
from fcn_jax.transforms import CaffeSegmentation, ImageClassification, Preset, SemanticSegmentation
from weights_converter import CheckpointError, Conversion, load_model_file, save_model_file
from weights_converter.engine import account, describe, recognize, to_ours
from weights_converter.tables.layer import Architecture

# All that depends on the number of classes: score layers, and the paper's upsamplings of scores.
SCORES = ("classifier.score.", "aux_classifier.score.", "score_", "upscore")
AUX = "aux_classifier."


@dataclass(frozen=True, repr=False)
class LoadReport:
    """What became of every array of a file and every variable of a model.

    Attributes:
      loaded: paths in the model that were filled from the file.
      dropped: {name in the file: why it was not used}.
      fresh: {path in the model: why it kept the value it had}.
      preset: the images that the weights expect, "caffe" or "torchvision"; None where the file does not tell.
    """

    loaded: tuple[str, ...]
    dropped: dict[str, str]
    fresh: dict[str, str]
    preset: str | None = None

    def __repr__(self) -> str:
        counts = f"{len(self.loaded)} loaded, {len(self.dropped)} dropped, {len(self.fresh)} fresh"
        return f"LoadReport({counts}; preset {self.preset!r})"


def named_variables(model: nnx.Module) -> dict[str, nnx.Variable]:
    """Lists the variables that a weight file holds: parameters, fixed kernels and batch statistics.

    Raises:
      TypeError: not a model.

    Returns:
      {"backbone.layer1.0.conv1.kernel": variable, ...}; the variables are the model's own.
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(f"expected a model, an nnx.Module, got {type(model).__name__}; the model comes first")
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, (nnx.Param, nnx.BatchStat, Fixed))
    }


def model_name(model: nnx.Module) -> str:
    """Names a model as `get_model` knows it: by its variant, or else by its variables.

    Raises:
      CheckpointError: it is no model of this package.
    """
    variant = getattr(model, "variant", None)
    return recognize(named_variables(model))[0].model_name if variant is None else variant.name


# A file, a state_dict in memory, or what has been read already.
Source = str | os.PathLike | Mapping[str, np.ndarray] | Conversion


def read_weights(source: Source, *, strict: bool = True, model_name: str | None = None) -> Conversion:
    """Reads a checkpoint file, or takes arrays in memory, into our names and layouts.

    Args:
      source: a path, or {name: array}, or a conversion, which is given back.
      strict: see `weights_converter.engine.to_ours`.
      model_name: likewise; the model that the weights are wanted for.

    Raises:
      CheckpointError: the file cannot be read, or the tensors are not those of `model_name`, or of no known
        architecture.
    """
    if isinstance(source, Conversion):
        found = source.architecture.model_name
        if model_name not in (None, found):
            raise CheckpointError(f"expected the arrays of {model_name}, got those of {found}", source.path)
        return source
    read = to_ours if isinstance(source, Mapping) else load_model_file
    return read(source, strict=strict, model_name=model_name)


def load_weights(
    model: nnx.Module,
    path: Source,
    *,
    strict: bool = True,
    aux: Literal["require", "drop", "keep"] = "require",
    head: Literal["require", "replace"] = "require",
) -> LoadReport:
    """Fills a model from a checkpoint, in any format and any names that `weights_converter` knows.

    Nothing is changed unless everything fits. Numbers are cast to the dtypes of the model; its `transforms`,
    and with the head its `categories`, become those of the file.

    Args:
      model: a model of the file's architecture, from one of the builders.
      path: `.pth`, `.pt`, `.caffemodel` or `.safetensors`; or {name: array}, a state_dict in memory. A file
        of the paper's next coarser network starts this one's training: what only the model has is reset.
      strict: every array of the file must have its place and every variable its array. Otherwise what is
        missing keeps its value and what is unexpected is left, both named in the report; shapes must be equal
        even so.
      aux: "require" wants the auxiliary head in both or in neither; "drop" leaves out the file's, for a model
        without one; "keep" leaves the model's as it is.
      head: "require" wants as many classes in the file as in the model; "replace" leaves what depends on the
        classes as it is in the model, the score layers and the upsamplings of scores: the start of training
        for other classes.

    Raises:
      CheckpointError: the file cannot be read or does not fit; the message says in what.
      ValueError: an unknown value of `aux` or `head`.
    """
    _check_choice("aux", aux, ("require", "drop", "keep"))
    _check_choice("head", head, ("require", "replace"))
    variables = named_variables(model)
    conversion = read_weights(path, strict=strict, model_name=model_name(model))
    arrays, dropped, fresh = dict(conversion.params), dict(conversion.dropped), dict(conversion.fresh)

    def leave_out(prefixes: tuple[str, ...], why: str) -> None:
        dropped.update({name: why for name in arrays if name.startswith(prefixes)})
        fresh.update({name: why for name in variables if name.startswith(prefixes)})

    if aux != "require":
        leave_out((AUX,), f'aux="{aux}"')
    if head == "replace":
        leave_out(SCORES, 'head="replace"')
    arrays = {name: array for name, array in arrays.items() if name not in dropped}
    wanted = {name: variable for name, variable in variables.items() if name not in fresh}
    if strict:
        _check_same_architecture(recognize(variables, model_name(model))[0], conversion, aux, head)
    result = account({name: variable.shape for name, variable in wanted.items()}, arrays)
    try:
        result.close("the model", strict=strict)
    except CheckpointError as error:
        raise CheckpointError(error.reason, conversion.path) from None
    dropped |= dict.fromkeys(
        (*conversion.account.unexpected, *result.unexpected), "strict=False: no place for it"
    )
    fresh |= dict.fromkeys(result.missing, "strict=False: not in the file")
    loaded = tuple(name for name in wanted if name in arrays)
    transforms, categories = stated(conversion)
    if transforms is None and conversion.preset is not None:
        transforms = default_transforms(model_name(model), conversion.preset)

    fill({name: wanted[name] for name in loaded}, arrays)
    model.transforms = transforms or model.transforms
    if head == "require":
        reset({name: variables[name] for name in conversion.fresh})
        model.categories = categories or model.categories
    return LoadReport(loaded, dropped, fresh, conversion.preset)


def load_backbone(model: nnx.Module, path: Source) -> LoadReport:
    """Fills `model.backbone` from an ImageNet classifier's checkpoint, whose last layer is dropped.

    Raises:
      CheckpointError: the file cannot be read, is no classifier, or one of another depth.
    """
    conversion = read_weights(path)
    variables = named_variables(model.backbone)
    expected = recognize(variables)[0]
    if conversion.architecture != expected:
        raise CheckpointError(
            f"expected a backbone, {describe(expected)}; got {describe(conversion.architecture)}",
            conversion.path,
        )
    fill(variables, conversion.params)
    loaded = tuple(f"backbone.{name}" for name in variables)
    fresh = {name: "not part of a backbone" for name in named_variables(model) if name not in loaded}
    return LoadReport(loaded, dict(conversion.dropped), fresh, conversion.preset)


def save_weights(
    model: nnx.Module,
    path: str | os.PathLike,
    *,
    categories: Sequence[str] | None = None,
    transforms: Any = None,
) -> None:
    """Writes the weights of a model: `.safetensors` (ours), or `.pth` / `.pt` for PyTorch.

    The file appears whole or not at all, and is read back and compared first.

    Args:
      model: any model of the builders.
      path: the file to write.
      categories: class names, stored in a safetensors file; the model's own if not given.
      transforms: the preset that pictures go through, likewise.

    Raises:
      CheckpointError: an unknown suffix, or a file that cannot be written.
      ValueError: more or fewer categories than classes. Nothing is written.
      TypeError: `model` is none, or `transforms` no preset.
    """
    metadata = {"model": model_name(model)}
    categories = model.categories if categories is None else categories
    transforms = model.transforms if transforms is None else transforms
    if categories is not None:
        num_classes = recognize(named_variables(model))[0].num_classes
        if len(categories) != num_classes:
            raise ValueError(f"expected {num_classes} categories, one for each class, got {len(categories)}")
        metadata["categories"] = json.dumps(list(categories))
    if transforms is not None:
        if not isinstance(transforms, Preset):
            raise TypeError(f"transforms: expected a preset of fcn_jax.transforms, got {transforms!r}")
        metadata["transforms"] = json.dumps(transforms.to_dict())
        metadata["preset"] = "caffe" if isinstance(transforms, CaffeSegmentation) else "torchvision"
    arrays = {name: np.asarray(variable[...]) for name, variable in named_variables(model).items()}
    save_model_file(path, arrays, metadata)


def fill(variables: Mapping[str, nnx.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Gives each variable a copy of the array of its name, in the variable's dtype."""
    for name, variable in variables.items():
        # NumPy's copy, always: a file's arrays are mapped, and JAX may share the memory of an aligned one.
        # `jnp.array` would copy too, by a program that it compiles for each shape.
        variable.set_value(jax.device_put(np.array(arrays[name], variable.dtype, order="C")))


def stated(conversion: Conversion) -> tuple[Preset | None, tuple[str, ...] | None]:
    """Reads the transforms and the categories that a file of our own carries beside its tensors.

    Raises:
      CheckpointError: they make no sense.
    """
    transforms, categories = (conversion.metadata.get(key) for key in ("transforms", "categories"))
    try:
        if transforms is not None:
            transforms = Preset.from_dict(json.loads(transforms))
            transforms.check()
            if isinstance(transforms, ImageClassification):
                raise ValueError(
                    "transforms: expected a preset that keeps the whole picture, got ImageClassification"
                )
        if categories is not None:
            categories = json.loads(categories)
            expected = conversion.architecture.num_classes
            if not isinstance(categories, list) or not all(isinstance(name, str) for name in categories):
                raise ValueError("categories: expected a list of names")
            if len(categories) != expected:
                raise ValueError(f"categories: expected {expected} names, got {len(categories)}")
            categories = tuple(categories)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"its metadata are not as expected: {error}", conversion.path) from error
    return transforms, categories


def default_transforms(name: str, preset: str | None) -> Preset:
    """Gives what pictures go through before a model, by its name and the preset of its weights.

    Args:
      name: of the model.
      preset: "caffe", "torchvision", or None for random weights.
    """
    if name.startswith("fcn_resnet"):
        return SemanticSegmentation()
    return SemanticSegmentation(resize_size=None) if preset == "torchvision" else CaffeSegmentation()


def reset(variables: Mapping[str, nnx.Variable]) -> None:
    """Sets layers that a stage of training adds to their start: scores to zero, upsamplings to bilinear."""
    for name, variable in variables.items():
        start = bilinear() if name.startswith("upscore") else jax.nn.initializers.zeros
        variable.set_value(start(None, variable.shape, variable.dtype))


def _check_same_architecture(expected: Architecture, conversion: Conversion, aux: str, head: str) -> None:
    found, hint = conversion.architecture, None
    if found.num_classes != expected.num_classes and head == "require":
        hint = 'build the model with as many classes, or pass head="replace"'
    elif found.aux and not expected.aux and aux == "require":
        hint = 'pass aux="drop", or build the model with aux_loss=True'
    elif expected.aux and not found.aux and aux != "keep":
        hint = 'pass aux="keep" to leave the model\'s aux_classifier as it is'
    elif expected.aux and aux == "drop":
        hint = 'aux="drop" is for a model without aux_classifier: pass aux="keep" to leave this one as it is'
    if hint:
        raise CheckpointError(
            f"the model is {describe(expected)}, the file {describe(found)}; {hint}", conversion.path
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
