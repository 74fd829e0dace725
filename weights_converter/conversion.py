"""Converts a state_dict to the names and layouts of fcn_jax, and back, by its family's table."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from weights_converter.account import NOT_STRICT, is_counter, match_arrays
from weights_converter.errors import CheckpointError, SettingError
from weights_converter.readers.pickle_values import shown
from weights_converter.recognition import Recognized, family_of, recognize
from weights_converter.spec import ModelSpec
from weights_converter.tables.family import PRESETS, Family, Notes
from weights_converter.tables.layer import OURS, SOURCE, Layer

Aux = Literal["require", "drop", "keep"]
"""What becomes of a file's auxiliary head."""
MOST_SHOWN = 8  # parts of a file, in one line


@dataclass(frozen=True)
class Conversion:
    """A checkpoint in the names and layouts of fcn_jax.

    Attributes:
      spec: the network.
      params: {path: array}, views of the arrays that were read.
      dropped: {name in the checkpoint: why it has no place here}.
      counters: {name in the checkpoint: value} of PyTorch's batch-norm counters; None if the checkpoint had
        our names, which have no counters.
      twins: other networks with the same tensors. The checkpoint may belong to one of these.
      preset: the images that the weights expect: "caffe" (BGR from 0 to 255 minus the mean) or "torchvision"
        (RGB normalized); None if neither names nor metadata say.
      metadata: the metadata of one of our own files; else what the file says of classes and pictures, in the
        same form.
      path: the file that was read, if any.
      prefix: what stood before the names in the file, keys included: "model.module.".
      passed_over: {path in the file: what it is} of what belongs to no network, or to another one.
      names: {path: name of its array in the checkpoint}.
      unknown: fields of the spec that the file does not show: the spec has a guess there. See `settled`.
    """

    spec: ModelSpec
    params: dict[str, np.ndarray]
    dropped: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] | None = None
    twins: tuple[str, ...] = ()
    preset: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    path: str | None = None
    prefix: str = ""
    passed_over: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def for_model(self, model_name: str | None, hint: str | None = None) -> "Conversion":
        """Returns the conversion for the named network, which may be one of its twins.

        Args:
          model_name: the network; None keeps the one that was recognized.
          hint: the hint for the error.

        Raises:
          CheckpointError: the checkpoint belongs to another network.
        """
        if model_name is None:
            return self
        if model_name in (self.spec.name, *self.twins):
            unknown = tuple(field for field in self.unknown if field != "name")
            twins = self.twins if model_name == self.spec.name and "name" not in self.unknown else ()
            return replace(self, spec=replace(self.spec, name=model_name), twins=twins, unknown=unknown)
        if self.spec.is_classifier:
            hint = "a classifier's file fills a backbone"
        raise CheckpointError(
            expected=f"the tensors of {model_name}",
            got=f"those of {self.spec.name}",
            hint=hint,
            path=self.path,
        )

    def remark(self) -> str | None:
        """Says in a line where the tensors were and what was passed over; None if they stood alone."""
        if not self.prefix and not self.passed_over:
            return None
        some = [f"{shown(path)} ({what})" for path, what in list(self.passed_over.items())[:MOST_SHOWN]]
        more = f" and {len(self.passed_over) - MOST_SHOWN} more" if len(self.passed_over) > MOST_SHOWN else ""
        where = f"took the tensors of {self.spec.name}"
        where += f" behind {shown(self.prefix)}" if self.prefix else ""
        return where + (f"; passed over {', '.join(some)}{more}" if some else "")

    def settled(self, align_corners: bool | None = None) -> "Conversion":
        """Returns the conversion with nothing unknown.

        Args:
          align_corners: the answer where the file does not say; ignored where it does.

        Raises:
          CheckpointError: something is still unknown; the message says what, and which options answer it.
        """
        if not self.unknown:
            return self
        missing, spec = self.unknown, self.spec
        if align_corners is not None:
            missing = tuple(field for field in missing if field != "align_corners")
            spec = replace(spec, align_corners=align_corners)
        if missing:
            names = " or ".join((spec.name, *self.twins))
            said = {"name": f"{{model_name}} ({names})", "align_corners": "{align_corners} (True or False)"}
            raise CheckpointError(
                "neither its tensors nor a config in it show "
                + " and ".join(WORDS[field] for field in missing),
                self.path,
                hint=f"give {' and '.join(said[field] for field in missing)}",
            )
        return replace(self, spec=spec, unknown=())


WORDS = {"name": "the strides and dilations", "align_corners": "align_corners"}


def to_ours(
    tensors: Mapping[str, np.ndarray],
    *,
    strict: bool = True,
    preset: str | None = None,
    metadata: Mapping[str, str] | None = None,
    notes: Callable[[], Notes] = dict,
    aux: Aux = "require",
) -> Conversion:
    """Converts a state_dict, or tensors that already have our names, to the names and layouts of fcn_jax.

    Args:
      tensors: {name: array}, as `read_checkpoint` returns them.
      strict: missing and unexpected tensors are errors; otherwise they are left out.
      preset: the images that the weights expect, "caffe" or "torchvision", where the names mislead: "caffe"
        for vgg16_from_caffe.pth, which has torchvision's names.
      metadata: the metadata of the file; used only if the file is one of ours.
      notes: returns what another program's file holds beside its tensors; called if it is needed.
      aux: "drop" or "keep": the auxiliary head is left out, whatever its tensors are; "require" converts it.

    Raises:
      CheckpointError: the architecture is unknown; or a tensor is missing, is unexpected or has another
        shape or dtype.
      SettingError: an unknown preset.
    """
    if preset not in (None, *PRESETS):
        raise SettingError(
            subject="preset", expected=f"one of {', '.join(map(repr, PRESETS))}", got=repr(preset)
        )
    metadata = dict(metadata or {})
    if metadata.get("format") != "fcn_jax":
        metadata = {}
    (family, spec, side), twins = _identify(tensors, metadata)
    unknown: tuple[str, ...] = ()
    if family.describe is not None and "spec" not in metadata:
        described = family.describe(spec, notes())
        spec, unknown, metadata = described.spec, described.unknown, metadata | dict(described.metadata)
        twins = twins if "name" in unknown else ()
    layers, left_out, without = list(family.layers(spec)), [], replace(spec, aux_loss=False)
    kept = {layer.ours for layer in family.layers(without)}
    if aux != "require":
        spec, left_out = without, [layer for layer in layers if layer.ours not in kept]
        layers = [layer for layer in layers if layer.ours in kept]
    dropped, counters, arrays = {}, None, dict(tensors)
    if side == SOURCE:
        counters = {
            name: int(arrays.pop(name).reshape(()))
            for name in _counter_names(layers)
            if name in arrays and is_counter(name, arrays[name])
        }
        dropped = family.set_aside(spec, arrays)
        arrays = {name: array for name, array in arrays.items() if name not in dropped}
        if family.legacy_shapes:
            arrays |= _without_legacy_axes(layers, arrays)
    dropped |= _taken_out(arrays, left_out, side, f'aux="{aux}"')
    places = _shapes(layers, side)
    _check_aux_classes(arrays, [layer for layer in layers if layer.ours not in kept], side)
    counted = {
        name: "a counter" for name, array in arrays.items() if name not in places and is_counter(name, array)
    }
    arrays = {name: array for name, array in arrays.items() if name not in counted}
    what = f"{spec}, as its metadata say" if "spec" in metadata else str(spec)
    account = match_arrays(places, arrays, what, strict=strict, hint=NOT_STRICT)
    params, names = {}, {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            array = arrays.get(layer.name(leaf, side))
            if array is not None:
                names[layer.name(leaf, OURS)] = layer.name(leaf, side)
                params[layer.name(leaf, OURS)] = layer.to_ours(leaf, array) if side == SOURCE else array
    preset = _preset(family, side, metadata, preset)
    dropped |= counted | account.dropped
    return Conversion(spec, params, dropped, counters, twins, preset, metadata, names=names, unknown=unknown)


def to_source(
    params: Mapping[str, np.ndarray], spec: ModelSpec, counters: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """Converts arrays in our names and layouts back to the source's state_dict.

    Args:
      params: {path: array}.
      spec: the network.
      counters: {source name: value} of the batch-norm counters; None writes zeros, as PyTorch does.

    Returns:
      {name: array} in the order of the source's own state_dict. Arrays are views, except where a convolution
      becomes a matrix again. The source is torchvision; the PyTorch port for the paper's networks; Caffe for
      a CaffeNet backbone.

    Raises:
      CheckpointError: no family has this network; or an array is missing, is unexpected or has another shape
        or dtype.
    """
    layers = list(family_of(spec).layers(spec))
    match_arrays(_shapes(layers, OURS), params, str(spec))
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


def _taken_out(arrays: dict[str, np.ndarray], layers: Iterable[Layer], side: str, why: str) -> dict[str, str]:
    """Removes the arrays of layers; returns {our name: why}."""
    dropped = {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            if arrays.pop(layer.name(leaf, side), None) is not None:
                dropped[layer.name(leaf, OURS)] = why
        for counter in layer.kind.counters:
            arrays.pop(f"{layer.source}.{counter}", None)
    return dropped


def _check_aux_classes(arrays: Mapping[str, np.ndarray], layers: Iterable[Layer], side: str) -> None:
    """Refuses an auxiliary head of other classes than the classifier, and says how to go on without it."""
    for layer in layers:
        for leaf in layer.kind.leaves:
            array, shape = arrays.get(layer.name(leaf, side)), layer.leaf_shape(leaf, side)
            scores = layer.ours.endswith(".score") and len(shape) == 1
            if scores and array is not None and array.ndim == 1 and array.shape != shape:
                raise CheckpointError(
                    f"its auxiliary head has {array.shape[0]} classes, its classifier {shape[0]}, as where "
                    "only the classifier was replaced for another data set",
                    hint='{aux="drop"} leaves the auxiliary head out',
                )


def check_arrays(params: Mapping[str, np.ndarray], spec: ModelSpec) -> None:
    """Raises CheckpointError unless these are exactly the arrays of a network, in our names and layouts."""
    match_arrays(_shapes(family_of(spec).layers(spec), OURS), params, str(spec))


def _identify(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> tuple[Recognized, tuple[str, ...]]:
    """Takes the network from our own files' metadata; recognizes all others. Also returns the twins."""
    if "spec" in metadata:
        try:
            spec = ModelSpec.from_json(metadata["spec"])
            return Recognized(family_of(spec), spec, OURS), ()
        except SettingError as error:
            raise CheckpointError(f"its metadata are not as expected: {error}") from error
    found = recognize(tensors)
    twins = tuple(name for name, twin in found.family.twins.items() if twin == found.spec.name)
    name = metadata.get("model")  # our files had no spec at first
    if name in twins:
        return found._replace(spec=replace(found.spec, name=name)), ()
    if name not in (None, found.spec.name):
        raise CheckpointError(f"its metadata say {name}, but its tensors are those of {found.spec.name}")
    return found, () if name else twins


def _preset(family: Family, side: str, metadata: Mapping[str, str], asked: str | None) -> str | None:
    preset = asked or metadata.get("preset")
    if preset is None:
        return family.preset if side == SOURCE else family.preset_of_ours
    possible = PRESETS if family.preset_of_ours is None else (family.preset_of_ours,)
    if preset not in possible:
        where = "was asked for" if asked else "is in its metadata"
        expected = " or ".join(map(repr, possible))
        raise CheckpointError(f"the preset {preset!r} {where}; expected {expected} for {family.description}")
    return preset


def _without_legacy_axes(layers: Iterable[Layer], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Reshapes arrays that Caffe stored with other axes; see `Family.legacy_shapes`."""
    found = {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            array, shape = arrays.get(layer.name(leaf, SOURCE)), layer.leaf_shape(leaf, SOURCE)
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
