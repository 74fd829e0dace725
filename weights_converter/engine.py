"""Applies a table in either direction, and closes the account on both sides.

Every tensor that came is used or named as dropped, every array that is wanted is filled or named as fresh or
missing, all shapes are equal; otherwise one error says everything that is amiss.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import ml_dtypes
import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.tables import FAMILIES, paper
from weights_converter.tables.family import PRESETS, Family
from weights_converter.tables.layer import OURS, SOURCE, Architecture, Layer

FLOATS = tuple(map(np.dtype, ("float16", ml_dtypes.bfloat16, "float32", "float64")))
_SHOWN = 40  # names listed per complaint; a checkpoint of another architecture would fill pages


@dataclass(frozen=True)
class Account:
    """How the tensors that came compare with those that a table wants, by name.

    Attributes:
      missing: wanted, but not there.
      unexpected: there, but unknown.
      mismatched: there, but of another shape, or not of a float dtype: what was expected and what came, in
        words.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    def close(self, what: str, *, strict: bool = True) -> None:
        """Raises CheckpointError naming all that is amiss; if not `strict`, wrong shapes only."""
        complaints = [("of another shape or dtype", self.mismatched)]
        if strict:
            complaints = [("missing", self.missing), ("unexpected", self.unexpected), *complaints]
        lines = [_complaint(label, names) for label, names in complaints if names]
        if lines:
            raise CheckpointError("\n  ".join([f"the tensors are not those of {what}:", *lines]))


def _complaint(label: str, names: Iterable[str]) -> str:
    names = list(names)
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{label} ({len(names)}): {', '.join(names[:_SHOWN])}{more}"


@dataclass(frozen=True)
class Conversion:
    """A checkpoint in the names and layouts of fcn_jax.

    Attributes:
      architecture: what the tensors are the tensors of.
      params: {path: array}, views of what was read.
      dropped: {source name: why it has no place here}.
      counters: {source name: value} of batch-norm counters, which only PyTorch keeps; None for tensors that
        bear our names, which cannot tell.
      account: what was missing or unexpected, if the conversion was not strict.
      metadata: what the file said of itself, if it was safetensors.
      fresh: {our path: why it is not in params}, when a model's training starts from a coarser one's file;
        the model keeps what it was built with.
      preset: the images that the weights expect, "caffe" (BGR from 0 to 255 minus the mean) or "torchvision"
        (RGB normalized); None where neither names nor metadata tell.
      path: the file that was read, if it was one.
    """

    architecture: Architecture
    params: dict[str, np.ndarray]
    account: Account
    dropped: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    preset: str | None = None
    path: str | None = None


def describe(architecture: Architecture) -> str:
    """Says in words what an architecture is: "fcn_resnet50 (21 classes, with aux_classifier)"."""
    name, num_classes, aux, widths = architecture
    facts = ["an ImageNet classifier" if num_classes is None else f"{num_classes} classes"]
    if num_classes is not None and not widths:
        facts.append(f"{'with' if aux else 'without'} aux_classifier")
    if widths and widths not in paper.WIDTHS.values():
        facts.append(f"widths {', '.join(map(str, widths))}")
    return f"{name} ({', '.join(facts)})"


def account(wanted: Mapping[str, tuple[int, ...]], came: Mapping[str, np.ndarray]) -> Account:
    """Compares the tensors that came with the shapes that are wanted."""
    return Account(
        missing=tuple(name for name in wanted if name not in came),
        unexpected=tuple(name for name in came if name not in wanted),
        mismatched=tuple(
            f"{name}: expected float {shape}, got {came[name].dtype} {came[name].shape}"
            for name, shape in wanted.items()
            if name in came and (came[name].shape != shape or came[name].dtype not in FLOATS)
        ),
    )


class Shaped(Protocol):
    """An array, or anything that stands for one: an nnx.Variable, a jax.ShapeDtypeStruct."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def recognize(tensors: Mapping[str, Shaped], model_name: str | None = None) -> tuple[Architecture, str]:
    """Tells which architecture tensors are of, and whose names they bear, from their names and shapes.

    Args:
      tensors: by name.
      model_name: whose they are, if that is known. It tells fcn8s_atonce_vgg16 from fcn8s_vgg16, which is
        meant otherwise.

    Returns:
      (architecture, SOURCE or OURS).

    Raises:
      CheckpointError: no table knows them, or they are not those of `model_name`.
    """
    _, architecture, side = _identify(tensors, model_name)
    return architecture, side


def to_ours(
    tensors: Mapping[str, np.ndarray],
    *,
    strict: bool = True,
    model_name: str | None = None,
    preset: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Conversion:
    """Brings a state_dict, or tensors that already bear our names, into the names and layouts of fcn_jax.

    Args:
      tensors: {name: array}, as `read_checkpoint` gives them.
      strict: missing and unexpected tensors are an error, rather than named in the account.
      model_name: the model they are wanted for. It settles what tensors cannot tell, and may be the next
        finer one of the paper's networks, fcn16s_vgg16 for an fcn32s_vgg16: then the layers that both have
        are converted, and the others named in `dropped` and `fresh`.
      preset: the images that the weights expect, "caffe" or "torchvision", if it is not what their names say:
        "caffe" for vgg16_from_caffe.pth, which has torchvision's names.
      metadata: what the file says of itself; if it is one of ours, its "model" and "preset" are believed.

    Raises:
      CheckpointError: the architecture is unknown or not that of `model_name`, or the account does not close.
      ValueError: an unknown preset.
    """
    if preset not in (None, *PRESETS):
        raise ValueError(f"preset: expected one of {', '.join(map(repr, PRESETS))}, got {preset!r}")
    said = metadata if metadata is not None and metadata.get("format") == "fcn_jax" else {}
    family, architecture, side = _identify(tensors, said.get("model"))
    staged = model_name is not None and family.parents.get(model_name) == architecture.model_name
    if not staged and model_name not in (None, architecture.model_name):
        if "model" in said:
            raise CheckpointError(_other_model(family, model_name, architecture, side))
        architecture = _identify(tensors, model_name)[1]
    layers = list(family.layers(architecture))
    dropped, counters, came = {}, None, dict(tensors)
    if side == SOURCE:
        counters = {name: int(came.pop(name)) for name in _counter_names(layers) if name in came}
        dropped = family.set_aside(architecture, came)
        came = {name: array for name, array in came.items() if name not in dropped}
        if family.legacy_shapes:
            came |= _without_legacy_axes(layers, came)
    result = account(_shapes(layers, side), came)
    result.close(describe(architecture), strict=strict)
    params = {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            array = came.get(layer.name(leaf, side))
            if array is not None:
                params[layer.name(leaf, OURS)] = layer.to_ours(leaf, array) if side == SOURCE else array
    preset = _preset(family, side, said, preset)
    conversion = Conversion(
        architecture, params, result, dropped, counters, dict(metadata or {}), preset=preset
    )
    return _staged(conversion, family, side, model_name) if staged else conversion


def to_source(
    params: Mapping[str, np.ndarray], counters: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """Brings arrays in our names and layouts back into a state_dict of the source.

    Args:
      params: {path: array}.
      counters: {source name: value} of the batch-norm counters; None writes zeros for all, as a fresh PyTorch
        module has them.

    Returns:
      {name: array} in the order of the source's own state_dict; arrays are views where layouts differ, unless
      a convolution becomes a matrix again. The source is torchvision; the PyTorch port for the paper's
      networks; Caffe for a CaffeNet backbone.

    Raises:
      CheckpointError: the account does not close.
    """
    family, architecture, side = _identify(params)
    if side == SOURCE:
        raise CheckpointError("expected arrays in the names of fcn_jax, got a state_dict in those of PyTorch")
    layers = list(family.layers(architecture))
    account(_shapes(layers, OURS), params).close(describe(architecture))
    if counters is None:
        counters = dict.fromkeys(_counter_names(layers), 0)
    state_dict = {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            state_dict[layer.name(leaf, SOURCE)] = layer.to_source(leaf, params[layer.name(leaf, OURS)])
        for counter in layer.kind.counters:
            name = f"{layer.source}.{counter}"
            if name in counters:
                state_dict[name] = np.array(counters[name], np.int64)
    return state_dict


def _identify(
    tensors: Mapping[str, Shaped], model_name: str | None = None
) -> tuple[Family, Architecture, str]:
    """Finds the family too; `model_name` may be the twin of what tensors look like, and nothing else."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for family in FAMILIES:
        found = family.recognize(shapes)
        if found is None:
            continue
        architecture, side = found
        if model_name in (None, architecture.model_name):
            return family, architecture, side
        if family.twins.get(model_name) == architecture.model_name:
            return family, architecture._replace(model_name=model_name), side
        raise CheckpointError(_other_model(family, model_name, architecture, side))
    names = ", ".join(list(tensors)[:8]) or "none at all"
    raise CheckpointError(
        "the tensors are of no architecture known here; expected "
        f"{'; '.join(family.known for family in FAMILIES)}; got {len(tensors)} tensors, the first: {names}"
    )


def _other_model(family: Family, asked: str, found: Architecture, side: str) -> str:
    hint = ""
    if found.num_classes is None:
        hint = "; a classifier's file fills a backbone"
    elif asked in family.parents:
        hint = f"; its training can start from a file of {family.parents[asked]}"
    what = "arrays" if side == OURS else "tensors"
    return f"expected the {what} of {asked}, got those of {found.model_name}{hint}"


def _preset(family: Family, side: str, said: Mapping[str, str], asked: str | None) -> str | None:
    preset = asked or said.get("preset")
    if preset is None:
        return family.preset if side == SOURCE else family.preset_of_ours
    possible = PRESETS if family.preset_of_ours is None else (family.preset_of_ours,)
    if preset not in possible:
        whose = "was asked for" if asked else "is in its metadata"
        raise CheckpointError(
            f"the preset {preset!r} {whose}; expected {' or '.join(map(repr, possible))} for {family.known}"
        )
    return preset


def _staged(conversion: Conversion, family: Family, side: str, model_name: str) -> Conversion:
    """Makes a model's start of a coarser one's weights: what both have, and an account of the rest."""
    coarse = conversion.architecture
    wanted = coarse._replace(model_name=model_name)
    before, after = list(family.layers(coarse)), list(family.layers(wanted))
    has, wants = {layer.ours for layer in before}, {layer.ours for layer in after}
    params, dropped = dict(conversion.params), dict(conversion.dropped)
    for layer in before:
        for leaf in layer.kind.leaves if layer.ours not in wants else ():
            if params.pop(layer.name(leaf, OURS), None) is not None:
                dropped[layer.name(leaf, side)] = f"{model_name} has no {layer.ours}"
    fresh = {
        layer.name(leaf, OURS): f"{coarse.model_name} has no {layer.ours}; {family.fresh[layer.ours]}"
        for layer in after
        for leaf in layer.kind.leaves
        if layer.ours not in has
    }
    return replace(conversion, architecture=wanted, params=params, dropped=dropped, fresh=fresh)


def _without_legacy_axes(layers: Iterable[Layer], came: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Finds arrays in shapes of Caffe that say the same, and gives them their own."""
    found = {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            array, shape = came.get(layer.name(leaf, SOURCE)), layer.leaf_shape(leaf, SOURCE)
            alike = {(1,) * (4 - len(shape)) + shape, layer.shape if leaf.flat else shape}
            if array is not None and array.shape in alike:
                found[layer.name(leaf, SOURCE)] = array.reshape(shape)
    return found


def _shapes(layers: Iterable[Layer], side: str) -> dict[str, tuple[int, ...]]:
    return {
        layer.name(leaf, side): layer.leaf_shape(leaf, side) for layer in layers for leaf in layer.kind.leaves
    }


def _counter_names(layers: Iterable[Layer]) -> list[str]:
    return [f"{layer.source}.{counter}" for layer in layers for counter in layer.kind.counters]
