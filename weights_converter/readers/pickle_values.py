"""What the pickle machine makes: plain data that names things and does nothing.

Numbers, strings, bytes, None, lists and tuples stand for themselves; everything else is one of these.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function, written "module.name". It was looked up nowhere."""

    name: str


@dataclasses.dataclass(slots=True, eq=False)
class Inert:
    """Stands where an object would be that is no tensor: training arguments, NumPy scalars, dates."""

    name: str


@dataclasses.dataclass(slots=True, eq=False)
class Pairs:
    """A dict as the (key, value) pairs that were put into it.

    Nothing is hashed: keys chosen to collide, or nested without end, cost no more than others.
    """

    pairs: list[tuple]


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """A run of bytes elsewhere in the file.

    Attributes:
      key: its name there.
      dtype: of its elements, or None where the storage is untyped and its elements are bytes.
      numel: how many elements the pickle says there are.
      view: (offset, numel) in elements when only a part of them is meant. Old files only.
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
    """A tensor over a storage. Offset and strides count elements; nothing has been checked yet."""

    storage: Storage
    dtype: np.dtype
    offset: object
    size: object
    stride: object


def shown(value: object) -> str:
    """Shows a value of unknown size and depth in a few words, for a message."""
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else value[:80] + "...")
    if isinstance(value, int) and abs(value) < 1 << 70:
        return repr(value)
    if isinstance(value, tuple) and len(value) <= 8 and all(isinstance(item, int) for item in value):
        return f"({', '.join(shown(item) for item in value)})"
    return kind_of(value)


def kind_of(value: object) -> str:
    """Says what a value is, in a word or two: "int", "dict", "argparse.Namespace"."""
    if isinstance(value, Global | Inert):
        return value.name[:120]
    return {Pairs: "dict", Tensor: "tensor", Storage: "storage"}.get(type(value), type(value).__name__)
