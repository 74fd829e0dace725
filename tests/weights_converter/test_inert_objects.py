"""Objects beside the tensors: harmless ones are data, hostile ones are refused, and none is made or run."""

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import logging
import os
import pathlib
import pickle
import random
import re
import types
import typing
import uuid

import numpy as np
import pytest

from tests.weights_converter.assembled import one, reason, storage, tensor, text, torch_zip_file
from weights_converter import CheckpointError, read_checkpoint
from weights_converter.readers.checkpoint import read_file
from weights_converter.readers.pickle_machine import load
from weights_converter.readers.pickle_stream import Stream
from weights_converter.readers.pickle_values import Global, Inert
from weights_converter.readers.plain_values import Foreign, entry, plain


@dataclasses.dataclass
class Settings:
    lr: float = 0.1


class Phase(enum.Enum):
    TRAIN = 1


class HistoryBuffer:
    """As mmengine's: its state has arrays, and functions of the class."""

    methods: typing.ClassVar = {}

    def __init__(self):
        self.values = np.arange(3.0)
        self.statistics_methods = {"mean": HistoryBuffer.mean}

    def mean(self):
        return self.values.mean()


class Slots:
    __slots__ = ("rate",)

    def __init__(self):
        self.rate = 3


class Attributes(dict):
    """As EasyDict, yacs and ConfigDict are."""

    def __init__(self, **entries):
        super().__init__(**entries)
        self.__dict__ = self


class config:
    """People write their settings so, too."""


class Reduced:
    def __reduce__(self):
        return Reduced, (), {"made": True}


Pair = collections.namedtuple("Pair", "left right")
HARMLESS = {
    "dataclass": Settings(),
    "enum": Phase.TRAIN,
    "history": HistoryBuffer(),
    "slots": Slots(),
    "attributes": Attributes(lr=1),
    "lower-case class": config(),
    "reduced": Reduced(),
    "namedtuple": Pair(1, 2),
    "namespace": types.SimpleNamespace(lr=1),
    "generator": np.random.default_rng(0),
    "random state": np.random.RandomState(0),
    "deque": collections.deque([0.5], maxlen=3),
    "slice": slice(0, 2),
    "range": range(3),
    "partial": functools.partial(Settings, lr=1),
    "function": reason,
    "pattern": re.compile("a+"),
    "type hint": typing.Optional[typing.Dict[str, int]],  # noqa: UP006, UP045
    "list hint": list[int],
    "decimal": decimal.Decimal("1.5"),
    "uuid": uuid.UUID(int=3),
    "date": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    "path": pathlib.PurePosixPath("a/b"),
    "error": ValueError("no"),
    "logger": logging.getLogger("a"),
    "random": random.Random(0),
    "array": np.arange(6).reshape(2, 3),
    "scalar": np.float32(3),
    "record dtype": np.dtype([("a", "f4")]),
    "ellipsis": ...,
    "none type": type(None),
    "set": {1, 2},
    "frozen set": frozenset("a"),
    "counter": collections.Counter("aab"),
}


def read(data: bytes) -> object:
    return load(Stream(memoryview(data)))[0]


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("what", HARMLESS)
def test_harmless_objects_pass(what, protocol):
    made = read(pickle.dumps([HARMLESS[what], "after"], protocol))
    assert made[1] == "after"
    assert isinstance(made[0], Inert | Global)
    assert type(made[0]).__module__.startswith("weights_converter")
    plain(made)


def test_the_state_of_an_object_is_data():
    found = plain(read(pickle.dumps({"s": Settings(), "h": HistoryBuffer(), "a": Attributes(lr=1)}, 2)))
    assert found["s"] == Foreign(f"{__name__}.Settings", {"lr": 0.1})
    np.testing.assert_array_equal(found["h"].state["values"], [0.0, 1.0, 2.0])
    assert found["h"].state["statistics_methods"]["mean"].name == f"{__name__}.HistoryBuffer.mean"


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    "value",
    [
        {"CLASSES": ("road", "sky"), "PALETTE": [[1, 2, 3]], "text": "model = dict()", "none": None},
        [
            np.arange(6, dtype=np.uint8).reshape(2, 3),
            np.arange(4.0)[::2],
            np.asfortranarray(np.eye(2)),
            np.zeros(0),
        ],
        [np.float64(1.5), np.int16(-3), np.bool_(True), b"bytes"],
        [np.arange(3, dtype=">i4"), {1: "one", (1, 2): "pair"}],
    ],
)
def test_plain_values_are_the_ones_that_were_saved(value, protocol):
    def same(one, other):
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        elif isinstance(other, dict):
            for (key, item), (name, expected) in zip(one.items(), other.items(), strict=True):
                assert str(key) == str(name)
                same(item, expected)
        elif isinstance(other, list | tuple):
            assert type(one) is type(other)
            for item, expected in zip(one, other, strict=True):
                same(item, expected)
        else:
            assert one == other

    same(plain(read(pickle.dumps(value, protocol))), value)


def test_plain_values_end(tmp_path):
    doubled = read(b"N" + b"2\x86" * 10_000 + b".")  # a value of 2 ** 10000 leaves
    plain(doubled)
    cycle = read(b"]q\x00h\x00a.")
    assert plain(cycle) == [Foreign("a part of itself")]
    huge = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01\x8a\x05\x00\x00\x00\x00\x01\x85cnumpy\ndtype\n"
    huge += text("f8") + b"\x85R\x89C\x00tb."
    assert isinstance(plain(read(huge)), Foreign)  # claims 2 ** 32 elements, has none


def test_what_a_file_says_beside_its_tensors(tmp_path):
    meta = b"}" + text("CLASSES") + text("road") + b"\x85s"
    value = (
        b"\x80\x02}(" + text("meta") + meta + text("state_dict") + b"}" + text("w") + tensor(storage()) + b"s"
    )
    path = torch_zip_file(tmp_path / "f", value + b"u.", s0=bytes(16))
    found = read_file(path)
    assert found.notes() == {"meta": {"CLASSES": ("road",)}}
    assert entry(found.root, "meta", "CLASSES") == ("road",)
    assert entry(found.root, "meta", "none", "at all") is None
    assert found.passed_over == {"meta": "1 values"}


class Runs:
    """A pickle that calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


RUNS = {
    "system": Runs(os.system, "touch ran"),
    "eval": Runs(eval, "1"),
    "exec": Runs(exec, "1"),
    "open": Runs(open, "ran", "w"),
    "import": Runs(__import__, "os"),
    "getattr of a module": Runs(getattr, types, "CodeType"),
    "getattr of a value": Runs(getattr, "text", "format"),
    "dunder": Runs(getattr, Settings, "__init__"),
    "a function of another package": Runs(reason, "path"),
    "partial": functools.partial(os.system, "touch ran"),
    "partial of eval": functools.partial(eval, "1"),
    "numpy": Runs(np.load, "path"),
    "pickle": Runs(pickle.loads, b"N."),
    "read text": Runs(pathlib.Path.read_text, pathlib.PurePosixPath("a")),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("what", RUNS)
def test_what_would_run_is_refused(what, protocol):
    if what == "getattr of a module":
        data = b"cbuiltins\ngetattr\nctypes\nSimpleNamespace\n" + text("__class__") + b"\x86R."
    else:
        data = pickle.dumps({"w": RUNS[what]}, protocol)
    with pytest.raises(CheckpointError, match=r"its pickle (names|calls) '.*nothing in the file was run"):
        read(data)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "subprocess.Popen",
            "types.FunctionType",
            "types.CodeType",
            "operator.attrgetter",
            "builtins.compile",
        ),
        *("torch.package.PackageImporter", "torch.jit.CompilationUnit", "torch.storage._load_from_bytes"),
        *("importlib.import_module", "ctypes.CDLL", "pip.main", "paramiko.ProxyCommand", "sh.Command"),
        *("webbrowser.open", "commands.getoutput", "timeit.timeit", "numpy.testing.Tester", "code.interact"),
        *("mine.__globals__", "mine.Net.__init__", "mine.a-b"),
    ],
)
@pytest.mark.parametrize("use", [b"", b")R", b")\x81"])
def test_names_that_are_refused(name, use, tmp_path):
    module, _, last = name.partition(".") if name.startswith("mine") else name.rpartition(".")
    path = torch_zip_file(tmp_path / "f", one(f"c{module}\n{last}\n".encode() + use))
    assert "nothing in the file was run" in reason(path)


def test_a_function_may_be_named_but_not_called():
    assert read(b"cmine.metrics\nmean_iou\n.") == Global("mine.metrics.mean_iou")
    assert read(b"cmine\nconfig\n)\x81.").name == "mine.config"  # made, not called: so it is a class
    with pytest.raises(CheckpointError, match=r"its pickle calls 'mine.metrics.mean_iou'"):
        read(b"cmine.metrics\nmean_iou\n)R.")
    with pytest.raises(CheckpointError, match=r"names 'operator.getitem'"):
        read(b"coperator\ngetitem\n.")


def test_the_tensors_beside_are_read(tmp_path):
    class_ = b"c__main__\nTrainer\n)\x81}" + text("lr") + b"K\x01sb"
    value = (
        b"\x80\x02}(" + text("model") + b"}" + text("w") + tensor(storage()) + b"s" + text("trainer") + class_
    )
    path = torch_zip_file(tmp_path / "f", value + b"u.", s0=bytes(16))
    assert list(read_checkpoint(path)) == ["w"]
