"""Recognizes the network that a checkpoint belongs to: needed only for files from other programs."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from weights_converter.errors import CheckpointError
from weights_converter.spec import ModelSpec
from weights_converter.tables import FAMILIES
from weights_converter.tables.family import Family


class Shaped(Protocol):
    """An array, or a description of one, such as jax.ShapeDtypeStruct."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class Recognized(NamedTuple):
    """The network that tensors belong to.

    Attributes:
      family: the checkpoint family; it has the table.
      spec: the network.
      side: SOURCE or OURS: whose names the tensors have.
    """

    family: Family
    spec: ModelSpec
    side: str


def recognize(tensors: Mapping[str, Shaped]) -> Recognized:
    """Infers the network, and whose names the tensors have, from names and shapes.

    Raises:
      CheckpointError: no family knows the tensors, or one knows them and says why it cannot read them.
    """
    found = look_at(tensors)
    if found is not None:
        return found
    expected = "; ".join(family.description for family in FAMILIES)
    names = ", ".join(list(tensors)[:8]) or "none at all"
    raise CheckpointError(
        f"the tensors belong to no architecture known here; expected {expected}; got {len(tensors)} tensors, "
        f"the first: {names}"
    )


def look_at(tensors: Mapping[str, Shaped]) -> Recognized | None:
    """Recognizes as `recognize` does, but returns None if no family knows the tensors."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for family in FAMILIES:
        found = family.recognize(shapes)
        if found is not None:
            return Recognized(family, *found)
    return None


def wanted_names(found: Recognized) -> set[str]:
    """Returns the names of all arrays that a network has, and of its counters."""
    names = set()
    for layer in found.family.layers(found.spec):
        names |= {layer.name(leaf, found.side) for leaf in layer.kind.leaves}
        names |= {f"{layer.source}.{counter}" for counter in layer.kind.counters}
    return names


def family_of(spec: ModelSpec) -> Family:
    """Finds the checkpoint family of a network by its name.

    Raises:
      CheckpointError: no family has a network with this name.
    """
    for family in FAMILIES:
        if spec.name in family.models:
            return family
    names = dict.fromkeys(name for family in FAMILIES for name in family.models)
    raise CheckpointError(expected=f"one of the networks {', '.join(names)}", got=spec.name)
