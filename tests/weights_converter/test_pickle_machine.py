"""Pickles are read as data: what a file names is never run, and no pickle takes unbounded time or memory."""

import os
import pickle
import re
import struct
import time

import pytest

from tests.weights_converter.assembled import (
    integer,
    numbers,
    one,
    reason,
    storage,
    tensor,
    text,
    torch_zip_file,
)
from weights_converter.errors import CheckpointError
from weights_converter.readers import read_checkpoint
from weights_converter.readers.pickle_machine import MAX_STEPS, load
from weights_converter.readers.pickle_stream import Stream
from weights_converter.readers.pickle_values import Inert, Pairs, Storage, Tensor

PROTO = b"\x80\x02"


def value_of(data: bytes) -> object:
    return load(Stream(memoryview(data)))[0]


def plain(value: object) -> object:
    """Pairs back to dicts, to compare with what Python's own pickle gives."""
    if isinstance(value, Pairs):
        return {key: plain(item) for key, item in value.pairs}
    return type(value)(plain(item) for item in value) if isinstance(value, list | tuple) else value


def refusal(data: bytes) -> str:
    with pytest.raises(CheckpointError) as raised:
        value_of(data)
    return raised.value.reason


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        [0, 1, 255, 256, 65536, -1, 2**31, -(2**40), 2**100],
        [0.0, -1.5, 1e300, float("inf")],
        ["", "weight", "é", "日本", "a\nb", "x" * 300],
        [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        {"a": {"b": []}, 3: [[]], (1, "x"): None},
        list(range(2000)),
    ],
)
def test_plain_values_are_those_of_pickle(value, protocol):
    assert plain(value_of(pickle.dumps(value, protocol))) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_bytes(protocol):
    assert value_of(pickle.dumps([b"", b"\x00\xff", b"x" * 300], protocol)) == [b"", b"\x00\xff", b"x" * 300]


def test_shared_values_stay_shared():
    inner = ["x"]
    found = value_of(pickle.dumps([inner, inner], 4))
    assert found[0] is found[1]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"U\x05scoreq\x00.", "score"),
        (b"T\x05\x00\x00\x00score.", "score"),
        (b"S'score'\n.", "score"),
        (b"U\x02\xc3\xa9.", "é"),  # UTF-8
        (b"U\x01\xe9.", "é"),  # Latin-1
        (b"I01\n.", True),
        (b"L12L\n.", 12),
    ],
)
def test_python_2_strings_and_numbers(data, expected):
    assert value_of(data) == expected


def test_python_2_ordered_dict():
    data = b"ccollections\nOrderedDict\nq\x00]q\x01(]q\x02(U\x01aK\x01e]q\x03(U\x01bK\x02ee\x85Rq\x04."
    assert value_of(PROTO + data).pairs == [("a", 1), ("b", 2)]


def test_a_tensor():
    found = value_of(PROTO + tensor(storage()) + b".")
    assert isinstance(found, Tensor)
    assert (found.storage.key, found.dtype, found.size, found.stride, found.offset) == (
        "0",
        "float32",
        (4,),
        (1,),
        0,
    )


def test_storages_are_collected():
    _, storages = load(Stream(memoryview(PROTO + b"]" + storage(key="7", numel=3) + b"a.")))
    assert list(storages) == ["7"]
    assert isinstance(storages["7"], Storage)
    assert storages["7"].nbytes == 12


# Ways to run something, each with a sentinel that would appear.


def hostile(command: bytes) -> dict[str, bytes]:
    arguments = text(command) + b"\x85"
    return {
        "os.system": b"cos\nsystem\n" + arguments + b"R",
        "posix.system": b"cposix\nsystem\n" + arguments + b"R",
        "builtins.eval": b"cbuiltins\neval\n" + arguments + b"R",
        "builtins.exec": b"cbuiltins\nexec\n" + arguments + b"R",
        "__builtin__.eval": b"c__builtin__\neval\n" + arguments + b"R",
        "builtins.getattr": b"cbuiltins\ngetattr\n",
        "builtins.__import__": b"cbuiltins\n__import__\n",
        "subprocess.Popen": b"\x8c\nsubprocess\x8c\x05Popen\x93" + arguments + b"R",
        "nt.system": b"cnt\nsystem\n" + arguments + b"\x81",
        "runpy._run_code": b"crunpy\n_run_code\n",
        "numpy.testing._private.utils.runstring": b"cnumpy.testing._private.utils\nrunstring\n"
        + arguments
        + b"R",
        "numpy.load": b"cnumpy\nload\n" + arguments + b"R",
        "numpy.f2py.capi_maps.getinit": b"cnumpy.f2py.capi_maps\ngetinit\n",
        "torch.load": b"ctorch\nload\n" + arguments + b"R",
        "torch.hub.load": b"ctorch.hub\nload\n",
        "torch._utils.__builtins__": b"ctorch._utils\n__builtins__\n",
        "torch._utils.a.__globals__": b"\x8c\x0ctorch._utils\x8c\x0da.__globals__\x93",
        "collections.OrderedDict.__reduce__": b"\x8c\x0bcollections\x8c\x16OrderedDict.__reduce__\x93",
    }


@pytest.mark.parametrize("name", hostile(b""))
def test_names_outside_the_list_are_refused_and_not_run(name, tmp_path):
    sentinel = tmp_path / "ran"
    path = torch_zip_file(tmp_path / "evil.pth", one(hostile(f"touch {sentinel}".encode())[name]))
    message = reason(path)
    assert f"its pickle names '{name}'" in message
    assert "nothing in the file was run" in message
    assert not sentinel.exists()


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_real_exploit(protocol, tmp_path):
    sentinel = tmp_path / "ran"
    path = torch_zip_file(tmp_path / "evil.pth", pickle.dumps({"w": Evil(f"touch {sentinel}")}, protocol))
    assert "posix.system" in reason(path)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("opcodes", "name"),
    [
        (b"(S'touch ran'\nios\nsystem\n", "INST"),
        (b"(N" + text("touch ran") + b"o", "OBJ"),
        (b"\x82\x01", "EXT1"),
        (b"\x83\x01\x00", "EXT2"),
        (b"\x84\x01\x00\x00\x00", "EXT4"),
        (b"Pos.system\n", "PERSID"),
        (b"\x97", "NEXT_BUFFER"),
        (b"N\x98", "READONLY_BUFFER"),
        (b"\x96" + bytes(8), "BYTEARRAY8"),
    ],
)
def test_opcodes_that_torch_does_not_write(opcodes, name):
    assert refusal(opcodes + b".") == f"its pickle uses {name}, which torch.save does not; nothing was run"


@pytest.mark.parametrize(
    "opcodes",
    [
        b"ctorch.nn.modules.linear\nLinear\n)\x81",
        b"ctorchvision.models.resnet\nResNet\n)\x81",
        b"(" + text("module") + b"cargparse\nNamespace\nNNtQ",
    ],
)
def test_whole_modules_are_told_from_their_weights(opcodes, tmp_path):
    message = reason(torch_zip_file(tmp_path / "model.pth", PROTO + opcodes + b"."))
    assert message.startswith("this is a whole pickled module")
    assert message.endswith("Save `model.state_dict()` instead")


def test_what_training_checkpoints_hold_is_inert():
    namespace = value_of(PROTO + b"cargparse\nNamespace\n)\x81}" + text("lr") + b"K\x01sb.")
    assert isinstance(namespace, Inert)
    assert namespace.name == "argparse.Namespace"


# Damage and malice.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends in the middle"),
        (PROTO, "ends in the middle"),
        (PROTO + b"N", "ends in the middle"),
        (PROTO + b".", "takes a value from an empty stack"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\xff", "unknown"),
        (b"0.", "a mark is missing"),
        (b"e.", "a mark is missing"),
        (b"t.", "a mark is missing"),
        (b"NN.", "values left over"),
        (b"(N.", "values left over"),
        (b"a.", "takes a value from an empty stack"),
        (b"R.", "takes a value from an empty stack"),
        (b"Q.", "takes a value from an empty stack"),
        (b"h\x07.", "memo 7 was never set"),
        (b"j\xff\xff\xff\xff.", "memo 4294967295 was never set"),
        (b"Np-1\n0.", "memo -1 is out of range"),
        (b"Np99999999999999999999999999\n.", "memo int is out of range"),
        (b"q\x00.", "takes a value from an empty stack"),
        (b"NNa.", "appends to NoneType"),
        (b"N(K\x01K\x02u.", "sets items of NoneType"),
        (b"}(K\x01u.", "a key without a value"),
        (b"}]K\x01s.", "a dict key is a list"),
        (b"}}K\x01s.", "a dict key is a dict"),
        (b"}]\x85K\x01s.", "a dict key is a tuple"),
        (b"}K\x01\x85\x85K\x01s.", "a dict key is a tuple"),
        (b"(]K\x01d.", "a dict key is a list"),
        (b"]NR.", "calls list on NoneType"),
        (b"ccollections\nOrderedDict\nNR.", "calls collections.OrderedDict on NoneType"),
        (b"ccollections\nOrderedDict\nK\x01\x85R.", "OrderedDict has unexpected arguments"),
        (b"ccollections\nOrderedDict\n]K\x01a\x85R.", "OrderedDict has unexpected arguments"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "_rebuild_tensor_v2 has unexpected arguments"),
        (b"ctorch._utils\n_rebuild_tensor\n(K\x01K\x01K\x01K\x01tR.", "makes a tensor from int"),
        (b"NNb.", "gives a state to NoneType"),
        (b"NQ.", "a persistent id is not a tuple"),
        (b")Q.", "a persistent id is not a tuple"),
        (b"K\x01\x85Q.", "does not name a storage"),
        (text("storage") + b"\x85Q.", "does not name a storage"),
        (b"(" + text("storage") + b"NNNNtQ.", "NoneType is not a kind of storage"),
        (b"(" + text("storage") + b"ctorch\nFloatStorage\nNNNtQ.", "storage NoneType has NoneType elements"),
        (storage(numel=-1) + b".", "storage '0' has -1 elements"),
        (storage(numel=2**63) + b".", "storage '0' has 9223372036854775808 elements"),
        (b"]" + storage(numel=4) + b"a" + storage(numel=5) + b"a.", "describes storage '0' in two ways"),
        (b"]" + storage("HalfStorage") + b"a" + storage() + b"a.", "describes storage '0' in two ways"),
        (storage(view=b"K\x01") + b".", "unreadable view"),
        (storage(view=b"(" + text("v") + integer(3) + integer(2) + b"t") + b".", "views elements 3 to 5"),
        (b"K\x01K\x02\x93.", "a name in it is not text"),
        (b"cos system", "a line of its pickle does not end"),
        (b"X\xff\xff\xff\xffabc.", "ends in the middle"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "ends in the middle"),
        (b"X\x01\x00\x00\x00\xff.", "can't decode"),
        (b"I1x\n.", "invalid literal"),
        (b"L" + b"9" * 5000 + b"L\n.", "4300"),
    ],
)
def test_damage_is_named(data, message):
    assert re.search(message, refusal(data)), refusal(data)


def test_every_cut_of_a_pickle_is_refused():
    data = one(tensor(storage()))
    value_of(data)
    for length in range(len(data)):
        refusal(data[:length])


def quickly(data: bytes) -> object:
    """Reads within seconds, to a value or to CheckpointError."""
    begin = time.monotonic()
    try:
        return value_of(data)
    except CheckpointError as error:
        return error.reason
    finally:
        assert time.monotonic() - begin < 60


@pytest.mark.slow
def test_endless_opcodes_are_counted():
    assert "more than 4000000 steps" in quickly(b"N0" * (MAX_STEPS // 2 + 1) + b"N.")


@pytest.mark.parametrize("nest", [b"\x85", b"]" + b"K\x01a" + b"\x86"])
def test_deep_nesting(nest):
    depth = 100_000
    assert isinstance(quickly(b"N" + nest * depth + b"."), tuple)
    assert "a dict key is a tuple" in quickly(b"}N" + b"\x85" * depth + b"Ns.")
    quickly(PROTO + tensor(storage(), size=b"N" + b"\x85" * depth) + b".")


@pytest.mark.slow
def test_deep_dicts_and_types():
    depth = 100_000
    assert isinstance(quickly(b"(K\x01" * depth + b"N" + b"d" * depth + b"."), Pairs)
    of_type = b"ctorch._tensor\n_rebuild_from_type_v2\n"
    nested = (b"(" + of_type + b"N") * depth + b"N" + b"Nt" * depth
    assert "a tensor's type is given twice" in quickly(of_type + nested + b"R.")


def test_metadata_is_not_searched_over_and_over():
    many = b"}(" + b"K\x01N" * 100 + b"u"
    described = tensor(storage()).removesuffix(b"tR") + many + b"tR"
    assert "a tensor has 100 pieces of metadata" in refusal(PROTO + described + b".")


def test_shared_parts_are_never_expanded():
    doubled = b"N" + b"2\x86" * 10_000  # a value of 2 ** 10000 leaves
    assert isinstance(quickly(doubled + b"."), tuple)
    assert "state_dict" not in quickly(b"}" + doubled + b"Ns.")


@pytest.mark.slow
def test_a_long_list_cannot_be_copied_over_and_over():
    pairs = b"](" + (b"K\x01K\x02\x86" * 10_000) + b"e\x85q\x00"
    again = b"ccollections\nOrderedDict\nh\x00R0"
    assert "more than 4000000 steps" in quickly(PROTO + pairs + b"0" + again * 10_000 + b"N.")


def test_colliding_keys_cost_nothing():
    keys = b"".join(integer(number * (2**61 - 1)) + b"N" for number in range(50_000))
    assert len(quickly(PROTO + b"}(" + keys + b"u.").pairs) == 50_000


def test_huge_numbers_do_not_reach_a_message():
    huge = b"\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000
    assert "storage '0' has int elements" in quickly(storage().replace(integer(4), huge) + b".")


def test_a_cycle(tmp_path):
    assert reason(torch_zip_file(tmp_path / "f", b"\x80\x02}q\x00" + text("model") + b"h\x00s.")) == (
        "its state_dict holds 1 entries that cannot be read as tensors: 'model' (dict). Save the "
        'state_dict alone, or under "model" or "state_dict"'
    )


def test_size_as_torch_size(tmp_path):
    size = b"ctorch\nSize\n" + numbers(4) + b"\x85R"
    path = torch_zip_file(tmp_path / "f", one(tensor(storage(), size=size)), s0=bytes(16))
    assert read_checkpoint(path)["w"].shape == (4,)
