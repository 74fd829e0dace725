"""Applies a table in either direction: a state_dict into the names and layouts of fcn_jax, and back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from weights_converter.account import settle
from weights_converter.errors import CheckpointError, SettingError
from weights_converter.recognition import Recognized, known, recognize
from weights_converter.spec import ModelSpec
from weights_converter.tables.family import PRESETS, Family
from weights_converter.tables.layer import OURS, SOURCE, Layer


@dataclass(frozen=True)
class Conversion:
    """A checkpoint in the names and layouts of fcn_jax.

    Attributes:
      spec: the network that it is of.
      params: {path: array}, views of what was read.
      dropped: {name in the checkpoint: why it has no place here}.
      counters: {name in the checkpoint: value} of batch-norm counters, which only PyTorch keeps; None for
        tensors that bear our names, which cannot tell.
      twins: other networks with the same tensors. The checkpoint may be one of these; it does not tell.
      preset: the images that the weights expect, "caffe" (BGR from 0 to 255 minus the mean) or "torchvision"
        (RGB normalized); None where neither names nor metadata tell.
      metadata: what the file said of itself, if it was one of ours.
      path: the file that was read, if it was one.
    """

    spec: ModelSpec
    params: dict[str, np.ndarray]
    dropped: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] | None = None
    twins: tuple[str, ...] = ()
    preset: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    path: str | None = None

    def of(self, model_name: str | None, hint: str | None = None) -> "Conversion":
        """Says which network the checkpoint is of; None leaves it what it is.

        Args:
          model_name: settles what the tensors cannot tell.
          hint: what to do, for the error.

        Raises:
          CheckpointError: it is one of another network.
        """
        if model_name is None or model_name == self.spec.name:
            return self
        if model_name in self.twins:
            return replace(self, spec=replace(self.spec, name=model_name), twins=())
        if self.spec.is_classifier:
            hint = "a classifier's file fills a backbone"
        raise CheckpointError(
            expected=f"the tensors of {model_name}",
            got=f"those of {self.spec.name}",
            hint=hint,
            path=self.path,
        )


def to_ours(
    tensors: Mapping[str, np.ndarray],
    *,
    strict: bool = True,
    preset: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Conversion:
    """Brings a state_dict, or tensors that already bear our names, into the names and layouts of fcn_jax.

    Args:
      tensors: {name: array}, as `read_checkpoint` gives them.
      strict: missing and unexpected tensors are an error, rather than left out.
      preset: the images that the weights expect, "caffe" or "torchvision", if it is not what their names say:
        "caffe" for vgg16_from_caffe.pth, which has torchvision's names.
      metadata: what the file says of itself; if it is one of ours, it is believed.

    Raises:
      CheckpointError: the architecture is unknown, or the account does not close.
      SettingError: an unknown preset.
    """
    if preset not in (None, *PRESETS):
        raise SettingError(
            subject="preset", expected=f"one of {', '.join(map(repr, PRESETS))}", got=repr(preset)
        )
    said = dict(metadata or {})
    if said.get("format") != "fcn_jax":
        said = {}
    (family, spec, side), twins = _identify(tensors, said)
    layers = list(family.layers(spec))
    dropped, counters, came = {}, None, dict(tensors)
    if side == SOURCE:
        counters = {name: int(came.pop(name)) for name in _counter_names(layers) if name in came}
        dropped = family.set_aside(spec, came)
        came = {name: array for name, array in came.items() if name not in dropped}
        if family.legacy_shapes:
            came |= _without_legacy_axes(layers, came)
    what = f"{spec}, as its metadata say" if "spec" in said else str(spec)
    account = settle(_shapes(layers, side), came, what, strict=strict)
    params = {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            array = came.get(layer.name(leaf, side))
            if array is not None:
                params[layer.name(leaf, OURS)] = layer.to_ours(leaf, array) if side == SOURCE else array
    preset = _preset(family, side, said, preset)
    return Conversion(spec, params, dropped | account.dropped, counters, twins, preset, said)


def to_source(
    params: Mapping[str, np.ndarray], spec: ModelSpec, counters: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """Brings arrays in our names and layouts back into a state_dict of the source.

    Args:
      params: {path: array}.
      spec: the network that they are of.
      counters: {source name: value} of the batch-norm counters; None writes zeros for all, as a fresh PyTorch
        module has them.

    Returns:
      {name: array} in the order of the source's own state_dict; arrays are views where layouts differ, unless
      a convolution becomes a matrix again. The source is torchvision; the PyTorch port for the paper's
      networks; Caffe for a CaffeNet backbone.

    Raises:
      CheckpointError: no table knows the network, or the account does not close.
    """
    layers = list(known(spec).family.layers(spec))
    settle(_shapes(layers, OURS), params, str(spec))
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


def check_arrays(params: Mapping[str, np.ndarray], spec: ModelSpec) -> None:
    """Raises CheckpointError unless these are all arrays of a network, in our names and layouts."""
    settle(_shapes(known(spec).family.layers(spec), OURS), params, str(spec))


def _identify(
    tensors: Mapping[str, np.ndarray], said: Mapping[str, str]
) -> tuple[Recognized, tuple[str, ...]]:
    """Believes what a file of ours says of itself; recognizes everything else. Also gives the twins."""
    if "spec" in said:
        try:
            return known(ModelSpec.from_json(said["spec"])), ()
        except SettingError as error:
            raise CheckpointError(f"its metadata are not as expected: {error}") from error
    found = recognize(tensors)
    twins = tuple(name for name, twin in found.family.twins.items() if twin == found.spec.name)
    name = said.get("model")  # in files of ours from before there was a spec
    if name in twins:
        return found._replace(spec=replace(found.spec, name=name)), ()
    if name not in (None, found.spec.name):
        raise CheckpointError(
            f"its metadata say that it holds {name}, and its tensors are those of {found.spec.name}"
        )
    return found, () if name else twins


def _preset(family: Family, side: str, said: Mapping[str, str], asked: str | None) -> str | None:
    preset = asked or said.get("preset")
    if preset is None:
        return family.preset if side == SOURCE else family.preset_of_ours
    possible = PRESETS if family.preset_of_ours is None else (family.preset_of_ours,)
    if preset not in possible:
        where = "was asked for" if asked else "is in its metadata"
        raise CheckpointError(
            f"the preset {preset!r} {where}; expected {' or '.join(map(repr, possible))} for {family.known}"
        )
    return preset


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
