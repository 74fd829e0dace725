"""Reads a pickle as data: `pickletools` splits it into opcodes, and a small stack machine builds the values.

Nothing in the file is imported, called or executed. Names are compared with `pickle_names`; objects become
the records of `pickle_values`. The length of the pickle bounds time and memory: shared parts stay shared, no
value of unknown depth is hashed, compared or printed, and the steps are counted.
"""

import pickletools
from collections.abc import Callable
from typing import IO, Any, cast

from weights_converter.errors import CheckpointError
from weights_converter.readers.pickle_globals import call, look_up, whole_module
from weights_converter.readers.pickle_names import ATTRIBUTE, ITEM, refusal
from weights_converter.readers.pickle_stream import Stream
from weights_converter.readers.pickle_values import (
    Global,
    Inert,
    ModuleClass,
    Pairs,
    Storage,
    kind_of,
    shown,
)
from weights_converter.readers.storages import STORAGE_DTYPES, is_count

# ResNet-101 with optimizer and averaged weights takes some 60 000 opcodes. Four million take seconds.
MAX_STEPS = 4_000_000
HIGHEST_PROTOCOL = 5
SCALARS = (str, int, float, bool, bytes, type(None), Global, Inert)
TAKERS = ATTRIBUTE | ITEM
MAX_KEY_PARTS = 16


def load(stream: Stream) -> tuple[object, dict[str, Storage]]:
    """Reads one pickle; the stream then stands after it.

    Returns:
      The value of the pickle, and every storage that it mentions, by key.

    Raises:
      CheckpointError: the pickle is damaged, too long, or uses names that `pickle_names` refuses.
    """
    machine = _Machine()
    operations = pickletools.genops(cast(IO[bytes], stream))  # it needs only what `Stream` has
    while True:
        try:
            opcode, argument, _ = next(operations)
        except Exception as error:  # pickletools raises many kinds of errors for bytes it cannot read
            raise CheckpointError(f"its pickle is damaged: {str(error)[:120]}") from error
        machine.spend(1)
        if opcode.name == "STOP":
            return machine.stop(), machine.storages
        action = ACTIONS.get(opcode.name)
        if action is None:
            raise CheckpointError(
                f"its pickle uses {opcode.name}, which torch.save does not; nothing was run"
            )
        action(machine, argument)


class _Machine:
    """The stack, the marked stacks below it, and the memo."""

    def __init__(self):
        self.stack: list = []
        self.below: list[list] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}
        self.takers: dict[str, bool] = {}  # whether getattr and its like, where they are named, are called
        self.steps = 0

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise CheckpointError(f"its pickle takes more than {MAX_STEPS} steps; it is damaged or hostile")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if not self.stack:
            raise CheckpointError("its pickle is damaged: it takes a value from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list:
        if not self.below:
            raise CheckpointError("its pickle is damaged: a mark is missing")
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def stop(self) -> object:
        value = self.pop()
        if self.stack or self.below:
            raise CheckpointError("its pickle is damaged: it stops with values left over")
        for name, called in self.takers.items():
            if not called:
                raise refusal(name)
        return value

    def drop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def duplicate(self) -> None:
        value = self.pop()
        self.stack += [value, value]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise CheckpointError(f"its pickle is damaged: memo {shown(index)} was never set")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        if not 0 <= index < 2**32:  # the pickler counts up from 0
            raise CheckpointError(f"its pickle is damaged: memo {shown(index)} is out of range")
        self.memo[index] = self.pop()
        self.push(self.memo[index])

    def take(self, count: int) -> tuple:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def extend(self, items: list) -> None:
        """Adds to the list, set or object on top of the stack."""
        target = self.pop()
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Inert):
            target.items.extend(items)
        else:
            raise CheckpointError(f"its pickle is damaged: it appends to {kind_of(target)}")
        self.push(target)

    def set_items(self, items: list) -> None:
        """Adds alternating keys and values to the dict or object on top of the stack."""
        target = self.pop()
        pairs = _paired(items)
        if isinstance(target, Pairs):
            target.pairs.extend(pairs)
        elif isinstance(target, Inert):
            target.items.extend(pairs)
        else:
            raise CheckpointError(f"its pickle is damaged: it sets items of {kind_of(target)}")
        self.push(target)

    def frozen_set(self) -> None:
        self.push(Inert("frozenset", items=self.pop_to_mark()))

    def global_(self, argument: str | None) -> None:
        if argument is None:
            module, name = self.take(2)
            if not (isinstance(module, str) and isinstance(name, str)):
                raise CheckpointError("its pickle is damaged: a name in it is not text")
        else:
            module, _, name = argument.partition(" ")
        found = look_up(module, name)
        if found.name in TAKERS:
            self.takers.setdefault(found.name, False)
        self.push(found)

    def call(self, makes: bool = False) -> None:
        function, arguments = self.take(2)
        if isinstance(function, Global) and function.name in TAKERS:
            self.takers[function.name] = True
        if function == Global("collections.OrderedDict") and arguments and isinstance(arguments, tuple):
            self.push(self._ordered_dict(arguments[0]))
        else:
            self.push(call(function, arguments, makes))

    def call_with_keywords(self) -> None:
        function, arguments, keywords = self.take(3)
        made = call(function, arguments, makes=True)
        if isinstance(made, Inert):
            made.arguments = (*made.arguments, keywords) if isinstance(made.arguments, tuple) else keywords
        self.push(made)

    def build(self) -> None:
        """Gives an object its state, such as the fields of training arguments; drops that of a dict."""
        target, state = self.take(2)
        if isinstance(target, Inert):
            target.state = state
        elif not isinstance(target, Pairs):
            raise CheckpointError(f"its pickle is damaged: it gives a state to {kind_of(target)}")
        self.push(target)

    def persistent_id(self) -> None:
        identity = self.pop()
        if not isinstance(identity, tuple) or not identity:
            raise CheckpointError("its pickle is damaged: a persistent id is not a tuple")
        if identity[0] == "module":
            if len(identity) < 2 or not isinstance(identity[1], Global):
                raise whole_module("a module")
            self.push(ModuleClass(identity[1].name))
            return
        if identity[0] != "storage" or len(identity) not in (5, 6):
            raise CheckpointError("its pickle is damaged: a persistent id does not name a storage")
        self.push(self._storage(*identity[1:]))

    def _ordered_dict(self, items: object) -> Pairs:
        """Makes pairs from Python 2's form, OrderedDict([[key, value], ...])."""
        if not isinstance(items, list | tuple):
            raise CheckpointError("its pickle is damaged: collections.OrderedDict has unexpected arguments")
        self.spend(len(items))
        if not all(isinstance(item, list | tuple) and len(item) == 2 for item in items):
            raise CheckpointError("its pickle is damaged: collections.OrderedDict has unexpected arguments")
        return Pairs(_paired([part for item in items for part in item]))

    def _storage(self, kind, key, location, numel, view=None) -> Storage:
        name = kind.name if isinstance(kind, Global) else ""
        if name not in STORAGE_DTYPES:
            raise CheckpointError(f"its pickle is damaged: {kind_of(kind)} is not a kind of storage")
        dtype = STORAGE_DTYPES[name]
        if not isinstance(key, str) or not is_count(numel):
            raise CheckpointError(f"its pickle is damaged: storage {shown(key)} has {shown(numel)} elements")
        whole = Storage(key, dtype, numel)
        first = self.storages.setdefault(key, whole)
        if (first.numel, first.itemsize) != (numel, whole.itemsize) and (first.numel or numel):
            raise CheckpointError(f"its pickle is damaged: it describes storage {shown(key)} in two ways")
        if view is None:
            return whole
        if not (isinstance(view, tuple) and len(view) == 3 and is_count(view[1]) and is_count(view[2])):
            raise CheckpointError(f"its pickle is damaged: storage {shown(key)} has an unreadable view")
        _, offset, length = view
        if offset + length > numel:
            raise CheckpointError(
                f"its pickle is damaged: it views elements {offset} to {offset + length} of storage "
                f"{shown(key)}, which has {numel}"
            )
        return Storage(key, dtype, numel, view=(offset, length))


def _paired(items: list) -> list[tuple]:
    """Makes pairs from [key, value, key, value]; keys must be hashable at a bounded cost."""
    if len(items) % 2:
        raise CheckpointError("its pickle is damaged: a dict has a key without a value")
    for key in items[::2]:
        parts = key if isinstance(key, tuple) and len(key) <= MAX_KEY_PARTS else (key,)
        if not all(isinstance(part, SCALARS) for part in parts):
            raise CheckpointError(f"its pickle is damaged: a dict key is a {kind_of(key)}")
    return list(zip(items[::2], items[1::2], strict=True))


def _python2_text(argument: str) -> str:
    """Decodes a Python 2 string; pickletools gives one character for each byte."""
    try:
        return argument.encode("latin-1").decode()
    except UnicodeDecodeError:
        return argument


def _protocol(machine: _Machine, version: int) -> None:
    if version > HIGHEST_PROTOCOL:
        raise CheckpointError(f"its pickle is damaged: it has protocol {version}, the highest is 5")


ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": _protocol,
    "FRAME": lambda machine, argument: None,
    "MARK": lambda machine, argument: machine.mark(),
    "POP": lambda machine, argument: machine.drop(),
    "POP_MARK": lambda machine, argument: machine.pop_to_mark(),
    "DUP": lambda machine, argument: machine.duplicate(),
    "NONE": lambda machine, argument: machine.push(None),
    "NEWTRUE": lambda machine, argument: machine.push(True),
    "NEWFALSE": lambda machine, argument: machine.push(False),
    "EMPTY_LIST": lambda machine, argument: machine.push([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.push(()),
    "EMPTY_DICT": lambda machine, argument: machine.push(Pairs([])),
    "EMPTY_SET": lambda machine, argument: machine.push(Inert("set")),
    "LIST": lambda machine, argument: machine.push(machine.pop_to_mark()),
    "TUPLE": lambda machine, argument: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, argument: machine.push(machine.take(1)),
    "TUPLE2": lambda machine, argument: machine.push(machine.take(2)),
    "TUPLE3": lambda machine, argument: machine.push(machine.take(3)),
    "DICT": lambda machine, argument: machine.push(Pairs(_paired(machine.pop_to_mark()))),
    "FROZENSET": lambda machine, argument: machine.frozen_set(),
    "APPEND": lambda machine, argument: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, argument: machine.extend(machine.pop_to_mark()),
    "ADDITEMS": lambda machine, argument: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, argument: machine.set_items(list(machine.take(2))),
    "SETITEMS": lambda machine, argument: machine.set_items(machine.pop_to_mark()),
    "MEMOIZE": lambda machine, argument: machine.put(len(machine.memo)),
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.global_,
    "REDUCE": lambda machine, argument: machine.call(),
    "NEWOBJ": lambda machine, argument: machine.call(makes=True),
    "NEWOBJ_EX": lambda machine, argument: machine.call_with_keywords(),
    "BUILD": lambda machine, argument: machine.build(),
    "BINPERSID": lambda machine, argument: machine.persistent_id(),
}
ACTIONS |= dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get)
ACTIONS |= dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put)
NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
ACTIONS |= dict.fromkeys((*NUMBERS, *TEXTS, *BYTES), _Machine.push)
PYTHON2_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING")
ACTIONS |= dict.fromkeys(PYTHON2_TEXTS, lambda machine, argument: machine.push(_python2_text(argument)))
# Left out, so refused: EXT1, EXT2, EXT4, INST, OBJ, PERSID, BYTEARRAY8, NEXT_BUFFER, READONLY_BUFFER.
