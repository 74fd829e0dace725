"""The values that the pickle machine builds: plain data without behaviour.

Numbers, strings, bytes, None, lists and tuples stand for themselves; all else is one of the classes below.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function, written "module.name". It is never imported."""

    name: str


class ModuleClass(Global):
    """The class of a pickled PyTorch module; older files carry its source code beside its name."""

    __slots__ = ()


@dataclasses.dataclass(slots=True, eq=False)
class Inert:
    """An object that is not a tensor, as data: training arguments, NumPy arrays, dates, objects of any class.

    Attributes:
      name: its class, or the function that would have made it, written "module.name".
      arguments: what it would have been made from.
      state: the state that it would have been given: usually a dict of its attributes.
      items: what would have been added to it: elements, or pairs of key and value.
    """

    name: str
    arguments: object = ()
    state: object = None
    items: list = dataclasses.field(default_factory=list)


class Unread(Inert):
    """A kind of tensor that is not read; `name` says which in words, such as "a sparse tensor"."""

    __slots__ = ()


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

    @property
    def shape(self) -> tuple[int, ...]:
        """The size, if it could be one; () for anything else, which is refused once the tensor is read."""
        size = self.size
        if not isinstance(size, tuple) or len(size) > 64:
            return ()
        return size if all(type(n) is int and n >= 0 for n in size) else ()


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
