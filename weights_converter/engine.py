"""Applies a table in either direction, and closes the account on both sides.

Every tensor that came is used or named as dropped, every array that is wanted is filled or named as missing,
all shapes are equal; otherwise one error says everything that is amiss.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import ml_dtypes
import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.tables import torchvision
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
    """

    architecture: Architecture
    params: dict[str, np.ndarray]
    account: Account
    dropped: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def describe(architecture: Architecture) -> str:
    """Says in words what an architecture is: "fcn_resnet50 (21 classes, with aux_classifier)"."""
    if architecture.num_classes is None:
        return f"{architecture.model_name} (an ImageNet classifier)"
    aux = "with" if architecture.aux else "without"
    return f"{architecture.model_name} ({architecture.num_classes} classes, {aux} aux_classifier)"


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


def recognize(tensors: Mapping[str, Shaped]) -> tuple[Architecture, str]:
    """Tells which architecture tensors are of, and whose names they bear, from their names and shapes.

    Returns:
      (architecture, SOURCE or OURS).

    Raises:
      CheckpointError: no table knows them.
    """
    found = torchvision.recognize({name: tensor.shape for name, tensor in tensors.items()})
    if found is None:
        names = ", ".join(list(tensors)[:8]) or "none at all"
        raise CheckpointError(
            "the tensors are of no architecture known here; expected torchvision's fcn_resnet50 or "
            "fcn_resnet101, or its resnet50 or resnet101 for a backbone; "
            f"got {len(tensors)} tensors, the first: {names}"
        )
    return found


def to_ours(tensors: Mapping[str, np.ndarray], *, strict: bool = True) -> Conversion:
    """Brings a state_dict, or tensors that already bear our names, into the names and layouts of fcn_jax.

    Args:
      tensors: {name: array}, as `read_checkpoint` gives them.
      strict: missing and unexpected tensors are an error, rather than named in the account.

    Raises:
      CheckpointError: the architecture is unknown, or the account does not close.
    """
    architecture, side = recognize(tensors)
    layers = list(torchvision.layers(architecture))
    dropped, counters, came = {}, None, dict(tensors)
    if side == SOURCE:
        counters = {name: int(came.pop(name)) for name in _counter_names(layers) if name in came}
        if architecture.num_classes is None:
            dropped = {
                name: why for name, why in torchvision.DROPPED.items() if came.pop(name, None) is not None
            }
    result = account(_shapes(layers, side), came)
    result.close(describe(architecture), strict=strict)
    params = {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            array = came.get(layer.name(leaf, side))
            if array is not None:
                params[layer.name(leaf, OURS)] = array.transpose(leaf.axes) if side == SOURCE else array
    return Conversion(architecture, params, result, dropped, counters)


def to_source(
    params: Mapping[str, np.ndarray], counters: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """Brings arrays in our names and layouts back into a state_dict of the source.

    Args:
      params: {path: array}.
      counters: {source name: value} of the batch-norm counters; None writes zeros for all, as a fresh PyTorch
        module has them.

    Returns:
      {name: array} in the order of the source's own state_dict; arrays are views where layouts differ.

    Raises:
      CheckpointError: the account does not close.
    """
    architecture, side = recognize(params)
    if side == SOURCE:
        raise CheckpointError("expected arrays in the names of fcn_jax, got a state_dict in those of PyTorch")
    layers = list(torchvision.layers(architecture))
    account(_shapes(layers, OURS), params).close(describe(architecture))
    if counters is None:
        counters = dict.fromkeys(_counter_names(layers), 0)
    state_dict = {}
    for layer in layers:
        for leaf in layer.kind.leaves:
            array = params[layer.name(leaf, OURS)]
            state_dict[layer.name(leaf, SOURCE)] = array.transpose(np.argsort(leaf.axes))
        for counter in layer.kind.counters:
            name = f"{layer.source}.{counter}"
            if name in counters:
                state_dict[name] = np.array(counters[name], np.int64)
    return state_dict


def _shapes(layers: Iterable[Layer], side: str) -> dict[str, tuple[int, ...]]:
    return {
        layer.name(leaf, side): layer.leaf_shape(leaf, side) for layer in layers for leaf in layer.kind.leaves
    }


def _counter_names(layers: Iterable[Layer]) -> list[str]:
    return [f"{layer.source}.{counter}" for layer in layers for counter in layer.kind.counters]
