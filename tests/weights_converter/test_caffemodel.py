"""Caffe models in every encoding, held against the protobuf runtime where there is one; and damaged ones."""

import itertools
import mmap
import re
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.weights_converter.assembled import assert_same, reason
from tests.weights_converter.caffe_files import (
    BLOBS,
    LAYERS,
    caffemodel,
    chunk,
    layer,
    layer_v0,
    layer_v1,
    legacy_shape,
    net,
    number,
    packed,
    shape,
    unpacked,
    varint,
)
from weights_converter.errors import CheckpointError
from weights_converter.readers import protobuf_wire as wire
from weights_converter.readers import read_caffemodel, read_checkpoint, read_safetensors


def small_tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    shapes = {
        "conv1.weight": (2, 3, 5, 4),
        "conv1.bias": (2,),
        "up.weight": (3, 2, 1, 2),
        "fc.weight": (4, 6),
    }
    return {name: random.normal(size=size).astype(np.float32) for name, size in shapes.items()}


def blob() -> bytes:
    return BLOBS["packed"](np.arange(6, dtype=np.float32))


def written(path, data: bytes):
    path.write_bytes(data)
    return path


def expected_of(encoding: str) -> dict[str, np.ndarray]:
    found = {}
    for name, array in small_tensors().items():
        if encoding == "legacy":
            array = array.reshape((1,) * (4 - array.ndim) + array.shape)
        found[name] = array.astype(np.float64) if "double" in encoding else array
    return found


@pytest.mark.parametrize("form", LAYERS)
@pytest.mark.parametrize("encoding", BLOBS)
def test_every_form_and_encoding(form, encoding, tmp_path):
    path = caffemodel(tmp_path / "f", small_tensors(), form, encoding)
    assert_same(read_checkpoint(path), expected_of(encoding))
    assert_same(read_caffemodel(path), expected_of(encoding))


# The protobuf runtime's own words for the part of caffe.proto that is read.
MESSAGES = {
    "Shape": [("dim", 1, "int64", True)],
    "Blob": [
        *(
            (name, number, "int32", False)
            for number, name in enumerate(("num", "channels", "height", "width"), 1)
        ),
        *(("data", 5, "float", True), ("diff", 6, "float", True), ("shape", 7, "Shape", False)),
        *(("double_data", 8, "double", True), ("double_diff", 9, "double", True)),
    ],
    "V0": [("name", 1, "string", False), ("blobs", 50, "Blob", True)],
    "V1": [("layer", 1, "V0", False), ("name", 4, "string", False), ("blobs", 6, "Blob", True)],
    "Layer": [("name", 1, "string", False), ("type", 2, "string", False), ("blobs", 7, "Blob", True)],
    "Net": [("name", 1, "string", False), ("layers", 2, "V1", True), ("layer", 100, "Layer", True)],
}


@pytest.fixture(scope="module", params=[True, False], ids=["packed", "unpacked"])
def protobuf_net(request):
    """The class NetParameter, made by the protobuf runtime."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, index, kind, repeated in fields:
            added = described.field.add(name=name, number=index, label=3 if repeated else 1)
            if kind in MESSAGES:
                added.type, added.type_name = 11, f".caffe.{kind}"
            else:
                added.type = {"double": 1, "float": 2, "int64": 3, "int32": 5, "string": 9}[kind]
                if repeated:
                    added.options.packed = request.param
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.Net"))


@pytest.mark.parametrize("form", ["layer", "layers", "nested"])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("field", ["data", "double_data"])
def test_files_of_the_protobuf_runtime(form, legacy, field, protobuf_net, tmp_path):
    message = protobuf_net(name="FCN")
    for name in ("conv1", "up", "fc"):
        added = message.layer.add() if form == "layer" else message.layers.add()
        holder = added.layer if form == "nested" else added
        holder.name = name
        for array in (a for n, a in small_tensors().items() if n.startswith(f"{name}.")):
            one = holder.blobs.add()
            getattr(one, field).extend(array.reshape(-1).tolist())
            one.diff.extend([1.0, 2.0])
            if legacy:
                axes = (1,) * (4 - array.ndim) + array.shape
                one.num, one.channels, one.height, one.width = axes
            else:
                one.shape.dim.extend(array.shape)
    path = written(tmp_path / "f", message.SerializeToString())
    kind = "legacy" if legacy else "packed"
    expected = expected_of(kind)
    if field == "double_data":
        expected = {name: array.astype(np.float64) for name, array in expected.items()}
    assert_same(read_checkpoint(path), expected)


def test_the_protobuf_runtime_reads_the_files_of_these_tests(protobuf_net, tmp_path):
    """So that what these tests write is what Caffe would have read."""
    for form, encoding in itertools.product(LAYERS, BLOBS):
        path = caffemodel(tmp_path / "f", small_tensors(), form, encoding)
        message = protobuf_net.FromString(path.read_bytes())
        found = {}
        for one in [*message.layer, *message.layers]:
            holder = one.layer if form == "nested" else one
            for leaf, stored in zip(("weight", "bias"), holder.blobs, strict=False):
                axes = stored.shape.dim or (stored.num, stored.channels, stored.height, stored.width)
                doubles = len(stored.double_data) > 0
                values = np.array(stored.double_data if doubles else np.float32(stored.data))
                found[f"{holder.name}.{leaf}"] = values.reshape(axes)
        expected = expected_of(encoding)
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=f"{form}, {encoding}", strict=True)


def test_names(tmp_path):
    path = written(
        tmp_path / "f",
        net(layer("score-pool4", [blob(), blob()]), layer("bn", [blob()] * 3), layer("data"), layer("data")),
    )
    names = ["score_pool4.weight", "score_pool4.bias", "bn.weight", "bn.bias", "bn.2"]
    assert list(read_checkpoint(path)) == names


def test_a_scalar_has_no_shape(tmp_path):
    path = written(tmp_path / "f", net(layer("a", [packed(5, np.float32(3))])))
    assert read_checkpoint(path)["a.weight"].shape == ()


@pytest.mark.parametrize("encoding", ["packed", "unpacked", "double", "double unpacked", "legacy"])
def test_arrays_lie_over_the_file(encoding, tmp_path):
    path = caffemodel(tmp_path / "f", {"a.weight": np.ones((20, 30), np.float32)}, encoding=encoding)
    base = read_checkpoint(path)["a.weight"]
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def test_a_long_run_of_unpacked_numbers_is_one_step(monkeypatch, tmp_path):
    array = np.arange(200_000, dtype=np.float32)
    array[12345] = np.frombuffer(b"\x2d\x2d\x2d\x2d", "<f4")[0]  # the key among the numbers
    path = caffemodel(tmp_path / "f", {"a.weight": array}, encoding="unpacked")
    monkeypatch.setattr(wire, "MAX_FIELDS", 100)
    assert np.array_equal(read_checkpoint(path)["a.weight"], array)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 18, 80, 81, 1000])
def test_runs_end_where_they_end(count, tmp_path):
    array = np.arange(count, dtype=np.float32)
    data = unpacked(5, array) + unpacked(6, array) + unpacked(5, array) + shape([2, count])
    path = written(tmp_path / "f", net(layer("a", [data])))
    assert np.array_equal(read_checkpoint(path)["a.weight"], np.stack([array, array]))


def test_groups_are_skipped(tmp_path):
    group = varint(9 * 8 + 3) + number(1, 5) + varint(8 * 8 + 3) + varint(8 * 8 + 4) + varint(9 * 8 + 4)
    path = written(tmp_path / "f", net(layer("a", [group + blob()]), group))
    assert_same(read_checkpoint(path), {"a.weight": np.arange(6, dtype=np.float32)})


LOOKS = "looks like a Caffe model, but "


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([layer("a"), layer("b")], "none of its layers has blobs, so it holds no weights"),
        ([layer("a", [blob()]), layer("a", [blob()])], "it has two layers named 'a'"),
        ([layer("a-b", [blob()]), layer("a_b", [blob()])], "it has two layers named 'a_b'"),
        ([layer("a", [blob()]), layer_v1("b", [blob()])], "it lists its layers in two forms"),
        (
            [chunk(2, layer_v0("a", [blob()])[2:] + chunk(6, blob()))],
            "one of its layers has blobs in two forms",
        ),
        ([layer("", [blob()])], "a layer with blobs has a name of 0 bytes"),
        ([layer("a" * 1001, [blob()])], "a layer with blobs has a name of 1001 bytes"),
        ([chunk(100, chunk(1, b"\xff") + chunk(7, blob()))], "a layer's name is not text"),
        ([layer("a", [b""])], r"its blob 'a.weight' has the shape \(\) and 0 values"),
        ([layer("a", [shape([2, 3])])], r"has the shape \(2, 3\) and 0 values"),
        ([layer("a", [shape([0])])], r"has the shape \(0\) and 0 values"),
        ([layer("a", [packed(5, np.ones(2))])], r"has the shape \(\) and 2 values"),
        ([layer("a", [shape([2, 4]) + packed(5, np.ones(6))])], r"has the shape \(2, 4\) and 6 values"),
        ([layer("a", [shape([-2, -3]) + packed(5, np.ones(6))])], r"has the shape \(-2, -3\) and 6 values"),
        (
            [layer("a", [shape([2**62, 2**62]) + packed(5, np.ones(6))])],
            r"has the shape \(4611686018427387904,",
        ),
        ([layer("a", [number(1, 2) + number(2, 3) + packed(5, np.ones(6))])], r"the shape \(2, 3, 0, 0\)"),
        # Where a blob has both shapes, Caffe goes by the old one.
        (
            [layer("a", [shape([6]) + legacy_shape([2, 2]) + packed(5, np.ones(6))])],
            r"has the shape \(1, 1, 2, 2\) and 6 values",
        ),
        ([layer("a", [shape([1] * 33) + packed(5, np.ones(1))])], "has more than 32 axes"),
        ([layer("a", [shape([1] * 33, False) + packed(5, np.ones(1))])], "has more than 32 axes"),
        ([layer("a", [shape([1]) + chunk(5, b"12345")])], "has 5 bytes, not a multiple of 4"),
        ([layer("a", [shape([1]) + chunk(8, b"1234")])], "has 4 bytes, not a multiple of 8"),
        ([layer("a", [blob() + b"\x00"])], "the key 0 at byte .* of a message is invalid"),
        ([layer("a", [blob() + b"\x0f"])], "the key 15 at byte .* of a message is invalid"),
        ([layer("a", [blob() + varint(2**33)])], "the key 8589934592 at byte .* of a message is invalid"),
        ([layer("a", [blob() + b"\x08" + b"\x80" * 10 + b"\x01"])], "a number has more than 64 bits"),
        ([layer("a", [blob() + b"\x08" + b"\xff" * 9 + b"\x02"])], "a number has more than 64 bits"),
        ([layer("a", [blob() + b"\x08\x80"])], "a message ends at byte .* inside a number"),
        (
            [layer("a", [blob() + b"\x32" + varint(2**63)])],
            "field 6 ends at byte .* of a message that ends at",
        ),
        ([layer("a", [blob() + b"\x2d123"])], "field 5 ends at byte .* of a message that ends at"),
        ([layer("a", [blob() + b"\x0b"])], "the group 1 does not close"),
        ([layer("a", [blob() + b"\x0c"])], "field 1 is a group that does not close or open"),
        ([layer("a", [blob() + b"\x0b\x14"])], "field 2 is a group that does not close or open"),
        (
            [layer("a", [blob()]), b"\x4b" * 101 + b"\x4c" * 101],
            "field 9 is a group that does not close or open",
        ),
    ],
)
def test_what_is_amiss_is_said(layers, message, tmp_path):
    found = reason(written(tmp_path / "f", net(*layers)))
    assert found.startswith(LOOKS)
    assert re.search(message, found)


def test_too_many_fields(monkeypatch, tmp_path):
    path = written(tmp_path / "f", net(layer("a", [blob()]), number(7, 1) * 1000))
    assert read_checkpoint(path)
    monkeypatch.setattr(wire, "MAX_FIELDS", 1000)
    assert reason(path) == f"{LOOKS}it has more than 1000 fields"


def test_a_huge_length_takes_no_memory(tmp_path):
    path = written(tmp_path / "f", net() + varint(802) + varint(2**40) + chunk(1, "a"))
    assert f"{LOOKS}it is cut short or damaged: field 100 ends at byte" in reason(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"name: 'FCN'\nlayer {\n", "is the definition of a Caffe net"),
        (b"\nlayers {\n name: 'a'", "is the definition of a Caffe net"),
        (net(), "is not a checkpoint of a known format"),
        (BLOBS["packed"](np.ones(3)), "is not a checkpoint of a known format"),  # a mean image
        (number(1, 8) + chunk(2, "pytorch") + chunk(7, b"graph"), "is not a checkpoint"),  # as ONNX begins
        (number(1, 100) + chunk(2, "snapshot.caffemodel"), "is not a checkpoint"),  # a .solverstate
    ],
)
def test_what_is_no_model(data, message, tmp_path):
    assert reason(written(tmp_path / "f", data)).startswith(message)


def test_a_brace_where_safetensors_have_theirs(tmp_path):
    name = "A" * 6 + "{" + "B" * 20
    path = written(tmp_path / "f", chunk(1, name) + layer("a", [blob()]))
    assert path.read_bytes()[8:9] == b"{"
    assert list(read_checkpoint(path)) == ["a.weight"]
    with pytest.raises(CheckpointError):
        read_safetensors(path)


SMALL = {"a.weight": np.arange(1, 7, dtype=np.float32).reshape(2, 3), "a.bias": np.ones(2, np.float32)}


@pytest.mark.parametrize(
    ("form", "encoding"),
    [
        ("layer", "packed"),
        ("layers", "unpacked"),
        ("nested", "legacy"),
        ("layer", "double"),
        ("layers", "with diff"),
    ],
)
def test_every_cut_is_refused_or_loses_whole_layers_without_weights(form, encoding, tmp_path):
    path = caffemodel(tmp_path / "f", SMALL, form, encoding)
    data, expected, harmless = path.read_bytes(), read_checkpoint(path), 0
    for length in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:length])
        try:
            found = read_checkpoint(tmp_path / "cut")
        except CheckpointError:
            continue
        assert_same(found, expected)
        harmless += 1
    assert harmless == 1  # cut right before the last layer, which is a ReLU


@pytest.mark.parametrize(
    ("form", "encoding"), [("layer", "packed"), ("layers", "legacy"), ("nested", "unpacked")]
)
def test_every_flipped_byte_is_found_or_leaves_the_shapes(form, encoding, tmp_path):
    """A flip may rename a layer or hide a blob, which the table finds missing; it never bends a shape."""
    path, flipped = caffemodel(tmp_path / "f", SMALL, form, encoding), tmp_path / "flipped"
    data = path.read_bytes()
    shapes = {array.shape for array in read_checkpoint(path).values()}
    refused = 0
    for position in range(len(data)):
        for mask in (0x01, 0x08, 0xFF):
            flipped.write_bytes(data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :])
            try:
                found = read_checkpoint(flipped)
            except CheckpointError:
                refused += 1
            else:
                assert {array.shape for array in found.values()} <= shapes
                assert len(found) <= 2
    assert refused > len(data) / 2  # names and numbers are not looked at


mutations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5000), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("insert"), st.integers(0, 5000), st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("delete"), st.integers(0, 5000), st.integers(1, 40)),
    ),
    min_size=1,
    max_size=6,
)


def check_ends_well(path, data: bytes) -> None:
    path.write_bytes(data)
    begin = time.monotonic()
    try:
        found = read_caffemodel(path)
    except CheckpointError as error:
        message = str(error)
    else:
        message = str(path)
        assert sum(array.nbytes for array in found.values()) <= len(data)
    assert str(path) in message
    assert time.monotonic() - begin < 60
    path.unlink()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=mutations, form=st.sampled_from(list(LAYERS)), encoding=st.sampled_from(list(BLOBS)))
def test_random_damage_ends_in_the_one_error_and_soon(tmp_path, changes, form, encoding):
    data = bytearray(caffemodel(tmp_path / "intact", SMALL, form, encoding).read_bytes())
    for kind, position, change in changes:
        at = position % (len(data) + 1)
        if kind == "set":
            data[at : at + len(change)] = change
        elif kind == "insert":
            data[at:at] = change
        else:
            del data[at : at + change]
    check_ends_well(tmp_path / "damaged", data or b"\x00")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inner=st.binary(max_size=60), outer=st.binary(max_size=20))
def test_random_messages_end_in_the_one_error(tmp_path, inner, outer):
    check_ends_well(tmp_path / "random", net(layer("a", [inner]), layer("b", [blob()])) + outer)
