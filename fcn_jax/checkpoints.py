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

import jax.numpy as jnp
import numpy as np
from flax import nnx

from weights_converter import CheckpointError, Conversion, load_model_file, save_model_file
from weights_converter.engine import account, describe, recognize, to_ours

SCORES = ("classifier.score.", "aux_classifier.score.")
AUX = "aux_classifier."


@dataclass(frozen=True)
class LoadReport:
    """What became of every array of a file and every variable of a model.

    Attributes:
      loaded: paths in the model that were filled from the file.
      dropped: {name in the file: why it was not used}.
      fresh: {path in the model: why it kept the value it had}.
    """

    loaded: tuple[str, ...]
    dropped: dict[str, str]
    fresh: dict[str, str]


def named_variables(model: nnx.Module) -> dict[str, nnx.Variable]:
    """Lists the variables that a weight file holds: parameters and batch statistics, not random streams.

    Returns:
      {"backbone.layer1.0.conv1.kernel": variable, ...}; the variables are the model's own.
    """
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, (nnx.Param, nnx.BatchStat))
    }


Source = str | os.PathLike | Mapping[str, np.ndarray]


def read_weights(source: Source, *, strict: bool = True) -> Conversion:
    """Reads a checkpoint file, or takes arrays in memory, into our names and layouts.

    Raises:
      CheckpointError: the file cannot be read, or the tensors are of no known architecture.
    """
    return (
        to_ours(source, strict=strict)
        if isinstance(source, Mapping)
        else load_model_file(source, strict=strict)
    )


def source_name(source: Source) -> str | None:
    """Names a file in an error; arrays in memory have no name."""
    return None if isinstance(source, Mapping) else os.fspath(source)


def load_weights(
    model: nnx.Module,
    path: Source,
    *,
    strict: bool = True,
    aux: Literal["require", "drop", "keep"] = "require",
    head: Literal["require", "replace"] = "require",
) -> LoadReport:
    """Fills a model from a checkpoint, in any format and any names that `weights_converter` knows.

    Nothing is changed unless everything fits. Numbers are cast to the dtypes of the model.

    Args:
      model: a model of the file's architecture, from one of the builders.
      path: `.pth`, `.pt` or `.safetensors`; or {name: array}, a state_dict in memory.
      strict: every array of the file must have its place and every variable its array. Otherwise what is
        missing keeps its value and what is unexpected is left, both named in the report; shapes must be equal
        even so.
      aux: "require" wants the auxiliary head in both or in neither; "drop" leaves out the file's, for a model
        without one; "keep" leaves the model's as it is.
      head: "require" wants as many classes in the file as in the model; "replace" leaves the model's score
        layers, `classifier.score` and `aux_classifier.score`, as they are: the start of training for other
        classes.

    Raises:
      CheckpointError: the file cannot be read or does not fit; the message says in what.
      ValueError: an unknown value of `aux` or `head`.
    """
    _check_choice("aux", aux, ("require", "drop", "keep"))
    _check_choice("head", head, ("require", "replace"))
    conversion = read_weights(path, strict=strict)
    variables = named_variables(model)
    arrays, dropped, fresh = dict(conversion.params), dict(conversion.dropped), {}

    def leave_out(prefixes: tuple[str, ...], why: str) -> None:
        dropped.update({name: why for name in arrays if name.startswith(prefixes)})
        fresh.update({name: why for name in variables if name.startswith(prefixes)})

    if aux == "keep" or (aux == "drop" and not any(name.startswith(AUX) for name in variables)):
        leave_out((AUX,), f'aux="{aux}"')
    if head == "replace":
        leave_out(SCORES, 'head="replace"')
    arrays = {name: array for name, array in arrays.items() if name not in dropped}
    wanted = {name: variable for name, variable in variables.items() if name not in fresh}
    if strict:
        _check_same_architecture(variables, conversion.architecture, aux, head, path)
    result = account({name: variable.shape for name, variable in wanted.items()}, arrays)
    try:
        result.close("the model", strict=strict)
    except CheckpointError as error:
        raise CheckpointError(error.reason, source_name(path)) from None
    dropped |= dict.fromkeys(
        (*conversion.account.unexpected, *result.unexpected), "strict=False: no place for it"
    )
    fresh |= dict.fromkeys(result.missing, "strict=False: not in the file")
    loaded = tuple(name for name in wanted if name in arrays)
    fill({name: wanted[name] for name in loaded}, arrays)
    return LoadReport(loaded, dropped, fresh)


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
            source_name(path),
        )
    fill(variables, conversion.params)
    loaded = tuple(f"backbone.{name}" for name in variables)
    fresh = {name: "not part of a backbone" for name in named_variables(model) if name not in loaded}
    return LoadReport(loaded, dict(conversion.dropped), fresh)


def save_weights(
    model: nnx.Module,
    path: str | os.PathLike,
    *,
    categories: Sequence[str] | None = None,
    transforms: Any = None,
) -> None:
    """Writes the weights of a model: `.safetensors` (ours), or `.pth` / `.pt` for torchvision.

    The file appears whole or not at all, and is read back and compared first.

    Args:
      model: any model of the builders.
      path: the file to write.
      categories: class names, stored in a safetensors file.
      transforms: the preset that images go through, stored in a safetensors file.

    Raises:
      CheckpointError: an unknown suffix, or a file that cannot be written.
    """
    metadata = {}
    if categories is not None:
        metadata["categories"] = json.dumps(list(categories))
    if transforms is not None:
        metadata["transforms"] = json.dumps(transforms.to_dict())
    arrays = {name: np.asarray(variable[...]) for name, variable in named_variables(model).items()}
    save_model_file(path, arrays, metadata)


def fill(variables: Mapping[str, nnx.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Gives each variable a copy of the array of its name, in the variable's dtype."""
    for name, variable in variables.items():
        # A copy, always: a file's arrays are mapped, and JAX may share the memory of an aligned one.
        variable.set_value(jnp.array(arrays[name], variable.dtype))


def _check_same_architecture(variables, found, aux: str, head: str, path) -> None:
    expected = recognize(variables)[0]
    hint = None
    if found.model_name != expected.model_name:
        hint = "build the model that the file is of"
        if found.num_classes is None:
            hint = "a classifier's file fills a backbone: pass it as weights_backbone= to the builder"
    elif found.num_classes != expected.num_classes and head == "require":
        hint = 'build the model with as many classes, or pass head="replace"'
    elif found.aux and not expected.aux and aux == "require":
        hint = 'pass aux="drop", or build the model with aux_loss=True'
    elif expected.aux and not found.aux and aux != "keep":
        hint = 'pass aux="keep" to leave the model\'s aux_classifier as it is'
    elif expected.aux and aux == "drop":
        hint = 'aux="drop" is for a model without aux_classifier: pass aux="keep" to leave this one as it is'
    if hint:
        raise CheckpointError(
            f"the model is {describe(expected)}, the file {describe(found)}; {hint}", source_name(path)
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
