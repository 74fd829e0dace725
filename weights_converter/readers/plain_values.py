"""Turns the values of a pickle into plain Python data, for what a program wants to know beside the tensors.

    meta = plain(entry(root, "meta"))     # {"CLASSES": ("road", ...), "PALETTE": [[128, 64, 128], ...], ...}

NumPy's arrays and numbers become arrays and numbers; nothing else is made that the file describes.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from weights_converter.readers.pickle_values import Global, Inert, Pairs, Storage, Tensor

MAX_DEPTH = 32
MAX_ARRAY = 1 << 24  # bytes
_KINDS = re.compile(r"[biuf]\d{1,2}")


@dataclasses.dataclass(frozen=True, slots=True)
class Foreign:
    """An object of a class that has no plain form.

    Attributes:
      name: of its class, "module.name".
      state: its state in plain form, usually a dict of its attributes; or else its elements.
    """

    name: str
    state: Any = None


def entry(root: object, *path: str) -> object:
    """Returns the value under these keys of nested dicts, as the file has it; None if there is none."""
    for key in path:
        if isinstance(root, Pairs):
            found = [value for name, value in root.pairs if isinstance(name, str) and name == key]
            root = found[0] if len(found) == 1 else None
        elif isinstance(root, Mapping):
            root = root.get(key)
        else:
            return None
    return root


def plain(value: object) -> Any:
    """Returns a value as dicts, lists, tuples, sets, text, numbers and small NumPy arrays.

    Parts that occur twice stay shared. Tensors, classes, functions and other objects become `Foreign`, as
    does what is nested deeper than MAX_DEPTH.
    """
    return _plain(value, {}, 0)


def _plain(value: object, done: dict[int, Any], depth: int) -> Any:
    if isinstance(value, str | bytes | int | float | None):
        return value
    if isinstance(value, Global):
        return Foreign(value.name)
    if isinstance(value, Tensor | Storage):
        return Foreign("a tensor")
    if depth > MAX_DEPTH:
        return Foreign("nested too deep")
    if id(value) not in done:
        done[id(value)] = Foreign("a part of itself")  # until it is made
        done[id(value)] = _made(value, done, depth + 1)
    return done[id(value)]


def _made(value: object, done: dict[int, Any], depth: int) -> Any:
    if isinstance(value, Pairs):
        return _dict(value.pairs, done, depth)
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, done, depth) for item in value)
    if isinstance(value, Inert):
        return _object(value, done, depth)
    return Foreign(type(value).__name__)


def _dict(pairs: list[tuple], done: dict[int, Any], depth: int) -> dict:
    return {
        key if isinstance(key, str | bytes | int | float | None) else str(_plain(key, done, depth)): _plain(
            item, done, depth
        )
        for key, item in pairs
    }


def _object(value: Inert, done: dict[int, Any], depth: int) -> Any:
    name, short = value.name, value.name.rpartition(".")[2]
    first = value.arguments[0] if isinstance(value.arguments, tuple) and value.arguments else None
    if name.startswith("numpy.") or name == "_codecs.encode":
        made = _of_numpy(value)
        if made is not None:
            return made
    if short in ("set", "frozenset", "list", "deque"):
        return [
            _plain(item, done, depth) for item in value.items or (first if isinstance(first, list) else [])
        ]
    if short in ("dict", "Counter") or (value.items and value.state is None and _are_pairs(value.items)):
        pairs = first.pairs if isinstance(first, Pairs) else value.items
        return _dict(pairs, done, depth)
    if short in ("TorchVersion", "str", "int", "float", "PosixPath", "WindowsPath") and first is not None:
        return _plain(first, done, depth)
    state = value.items if value.state is None else value.state
    return Foreign(name, _plain(state, done, depth) if state else _plain(value.arguments, done, depth))


def _are_pairs(items: list) -> bool:
    return all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in items)


def _of_numpy(value: Inert) -> Any:
    """Makes an array or a number, if all is as NumPy writes it; else None."""
    short, state = value.name.rpartition(".")[2], value.state
    if value.name == "_codecs.encode":
        return _bytes(value)
    if short == "scalar" and isinstance(value.arguments, tuple) and len(value.arguments) == 2:
        dtype, data = _dtype(value.arguments[0]), _bytes(value.arguments[1])
        if dtype is not None and data is not None and len(data) == dtype.itemsize:
            return np.frombuffer(data, dtype)[0].item()
    if short == "_reconstruct" and isinstance(state, tuple) and len(state) == 5:
        _, shape, described, fortran, held = state
        dtype, data = _dtype(described), _bytes(held)
        counts = (
            isinstance(shape, tuple) and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)
        )
        if dtype is None or data is None or not counts or len(data) > MAX_ARRAY:
            return None
        if max(shape, default=0) <= MAX_ARRAY and len(data) == dtype.itemsize * int(
            np.prod(shape, dtype=object)
        ):
            return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran is True else "C")
    return None


def _bytes(value: object) -> bytes | None:
    """Returns bytes, also where protocol 2 writes them as text: encode(text, "latin1")."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Inert) and value.name in ("builtins.bytes", "__builtin__.bytes"):
        return b"" if value.arguments == () else None
    if isinstance(value, Inert) and value.name == "_codecs.encode" and isinstance(value.arguments, tuple):
        text = value.arguments[0] if value.arguments else None
        if isinstance(text, str):
            try:
                return text.encode("latin1")
            except UnicodeEncodeError:
                return None
    return None


def _dtype(value: object) -> np.dtype | None:
    if not (isinstance(value, Inert) and value.name == "numpy.dtype" and isinstance(value.arguments, tuple)):
        return None
    text = value.arguments[0] if value.arguments else None
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
    if not (isinstance(text, str) and _KINDS.fullmatch(text) and order in ("<", ">", "=", "|")):
        return None
    try:
        return np.dtype(f"{order}{text}" if order in ("<", ">") else text)
    except TypeError:
        return None
