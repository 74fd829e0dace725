"""Which network tensors are of: asked once, where a file of another program comes in."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from weights_converter.errors import CheckpointError
from weights_converter.spec import ModelSpec
from weights_converter.tables import FAMILIES
from weights_converter.tables.family import Family
from weights_converter.tables.layer import OURS


class Shaped(Protocol):
    """An array, or anything that stands for one: a jax.ShapeDtypeStruct."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class Recognized(NamedTuple):
    """What tensors are.

    Attributes:
      family: has the table for them.
      spec: the network that they are of.
      side: SOURCE or OURS: where their names are from.
    """

    family: Family
    spec: ModelSpec
    side: str


def recognize(tensors: Mapping[str, Shaped]) -> Recognized:
    """Tells which network tensors are of, and on which side, from their names and shapes.

    Raises:
      CheckpointError: no table knows them, or one does and says why they are not read.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for family in FAMILIES:
        found = family.recognize(shapes)
        if found is not None:
            return Recognized(family, *found)
    names = ", ".join(list(tensors)[:8]) or "none at all"
    raise CheckpointError(
        "the tensors are of no architecture known here; expected "
        f"{'; '.join(family.known for family in FAMILIES)}; got {len(tensors)} tensors, the first: {names}"
    )


def known(spec: ModelSpec) -> Recognized:
    """Finds the table for arrays in our names, by their spec.

    Raises:
      CheckpointError: there is none for a network of this name.
    """
    for family in FAMILIES:
        if spec.name in family.models:
            return Recognized(family, spec, OURS)
    names = dict.fromkeys(name for family in FAMILIES for name in family.models)
    raise CheckpointError(expected=f"a network of {', '.join(names)}", got=spec.name)
