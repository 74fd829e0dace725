"""The values that the pickle machine builds: plain data without behaviour.

Numbers, strings, bytes, None, lists and tuples stand for themselves; all else is one of the classes below.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function, written "module.name". It is never imported."""

    name: str


@dataclasses.dataclass(slots=True, eq=False)
class Inert:
    """Stands for an object that is not a tensor: training arguments, NumPy scalars, dates."""

    name: str


@dataclasses.dataclass(slots=True, eq=False)
class Pairs:
    """A dict as a list of (key, value) pairs.

    Nothing is hashed, so a hostile file gains nothing from colliding or deeply nested keys.
    """

    pairs: list[tuple]


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """A run of bytes elsewhere in the file.

    Attributes:
      key: its name in the file.
      dtype: of its elements; None for an untyped storage, whose elements are bytes.
      numel: the number of elements, according to the pickle.
      view: (offset, numel) in elements, for a part of the storage. Old files only.
    """

    key: str
    dtype: np.dtype | None
    numel: int
    view: tuple[int, int] | None = None

    @property
    def itemsize(self) -> int:
        return 1 if self.dtype is None else self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel * self.itemsize


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor over a storage. Offset and strides count elements and are not checked yet."""

    storage: Storage
    dtype: np.dtype
    offset: object
    size: object
    stride: object


def shown(value: object) -> str:
    """Shows a value of unknown size and depth in a few words, for messages."""
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else value[:80] + "...")
    if isinstance(value, int) and abs(value) < 1 << 70:
        return repr(value)
    if isinstance(value, tuple) and len(value) <= 8 and all(isinstance(item, int) for item in value):
        return f"({', '.join(shown(item) for item in value)})"
    return kind_of(value)


def kind_of(value: object) -> str:
    """Names the kind of a value in a word or two: "int", "dict", "argparse.Namespace"."""
    if isinstance(value, Global | Inert):
        return value.name[:120]
    return {Pairs: "dict", Tensor: "tensor", Storage: "storage"}.get(type(value), type(value).__name__)
