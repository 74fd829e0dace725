"""Walks what a file holds and lists every tensor in it, by the path that leads there.

    {"epoch": 3, "model": {"module.conv1.weight": ...}}   gives   model.module.conv1.weight

A name that the file nests and a name with dots are one and the same here: a prefix of names and a wrapper are
found in the same way.
"""

import dataclasses
from collections.abc import Iterator, Mapping

from weights_converter.readers.pickle_globals import is_module
from weights_converter.readers.pickle_values import (
    Inert,
    ModuleClass,
    Pairs,
    Tensor,
    Unread,
    kind_of,
    shown,
)

MAX_DEPTH = 32
MAX_NAME = 1000  # characters
# The attributes of a pickled module that hold its parts; they do not occur in the names of its state_dict.
PARTS = ("_parameters", "_buffers", "_modules")


@dataclasses.dataclass(frozen=True)
class Tree:
    """What a file holds, by path.

    Attributes:
      tensors: {path: tensor}, in the file's order. A tensor has `shape` and `dtype`.
      others: {path: what it is, in a word} of all else: numbers, text, objects.
      unread: those of `others` that are tensors of a kind that is not read.
      twice: paths of tensors that occur more than once.
      modules: names of the classes of whole modules.
    """

    tensors: dict = dataclasses.field(default_factory=dict)
    others: dict[str, str] = dataclasses.field(default_factory=dict)
    unread: set[str] = dataclasses.field(default_factory=set)
    twice: set[str] = dataclasses.field(default_factory=set)
    modules: list[str] = dataclasses.field(default_factory=list)


def walk(root: object) -> Tree:
    """Lists what a value holds. A part that occurs twice is listed once.

    Args:
      root: the value of a pickle; or nested dicts and lists of arrays.
    """
    tree, seen = Tree(), set()
    left: list[tuple[str, object, int]] = [("", root, 0)]
    while left:
        path, value, depth = left.pop()
        if _is_tensor(value):
            if path in tree.tensors:
                tree.twice.add(path)
            tree.tensors[path] = value
            continue
        if isinstance(value, ModuleClass) or (isinstance(value, Inert) and _is_module(value)):
            tree.modules.append(kind_of(value))
        if isinstance(value, Unread):
            tree.unread.add(path)
        children = [] if id(value) in seen or depth > MAX_DEPTH else list(_children(path, value))
        if not children or isinstance(value, Inert):
            tree.others.setdefault(path, kind_of(value))
        seen.add(id(value))
        left.extend((name, child, depth + 1) for name, child in reversed(children) if len(name) <= MAX_NAME)
    return tree


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor) or (hasattr(value, "shape") and hasattr(value, "dtype"))


def _is_module(value: Inert) -> bool:
    state = value.state
    return is_module(value.name) or (
        isinstance(state, Pairs) and any(key == "_modules" for key, _ in state.pairs)
    )


def _children(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Pairs):
        yield from ((_joined(path, key), child) for key, child in value.pairs)
    elif isinstance(value, Mapping):
        yield from ((_joined(path, key), child) for key, child in value.items())
    elif isinstance(value, list | tuple):
        yield from ((_joined(path, index), child) for index, child in enumerate(value))
    elif isinstance(value, Inert) and not isinstance(value, Unread):
        # The state of a class with slots is a pair: of attributes, and of slots.
        for state in value.state if isinstance(value.state, tuple) else (value.state,):
            if isinstance(state, Pairs):
                for key, child in state.pairs:
                    yield (path if key in PARTS else _joined(path, key)), child
        for number, item in enumerate(value.items):
            pair = isinstance(item, tuple) and len(item) == 2
            yield (_joined(path, item[0]), item[1]) if pair else (_joined(path, number), item)
        if isinstance(value.arguments, tuple):
            yield from ((_joined(path, index), child) for index, child in enumerate(value.arguments))


def _joined(path: str, key: object) -> str:
    name = key if isinstance(key, str) else shown(key)
    return f"{path}.{name}" if path else name
