"""torch.save's stream form: every part of it, its views, and every way to be cut short."""

import numpy as np
import pytest

from tests.weights_converter.assembled import (
    MAGIC,
    PROTOCOL,
    SYS_INFO,
    assert_same,
    integer,
    numbers,
    one,
    reason,
    storage,
    tensor,
    text,
    torch_legacy_file,
)
from weights_converter.readers import read_checkpoint

FOUR = np.arange(4, dtype=np.float32)


def plain(view: bytes = b"N", **fields) -> bytes:
    return one(tensor(storage(view=view), **fields))


@pytest.fixture
def good(tmp_path):
    return torch_legacy_file(tmp_path / "f", plain(), {"0": (4, FOUR.tobytes())})


def test_read(good):
    assert_same(read_checkpoint(good), {"w": FOUR})


def test_the_flag_of_the_machine_changes_nothing(good):
    """torch.save writes little-endian numbers on every machine, and torch.load ignores the flag."""
    good.write_bytes(good.read_bytes().replace(b"little_endian\x88", b"little_endian\x89"))
    assert_same(read_checkpoint(good), {"w": FOUR})


def test_python_2(tmp_path):
    pickle = (
        b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01]q\x02(U\x06conv.wq\x03"
        b"ctorch._utils\n_rebuild_tensor\nq\x04((U\x07storageq\x05ctorch\nFloatStorage\nq\x06U\x0294q\x07U\x03cpuq\x08"
        b"\x8a\x01\x04NtQK\x00\x8a\x01\x04\x85\x8a\x01\x01\x85tq\x09Rq\x0aea\x85Rq\x0b."
    )
    path = torch_legacy_file(tmp_path / "f", pickle, {"94": (4, FOUR.tobytes())}, keys=b"]U\x0294a")
    assert_same(read_checkpoint(path), {"conv.w": FOUR})


def test_views_of_a_storage(tmp_path):
    first = storage(view=b"(" + text("v") + integer(0) + integer(2) + b"t")
    second = storage(view=b"(" + text("u") + integer(1) + integer(3) + b"t")
    pickle = (
        b"\x80\x02}(" + text("a") + tensor(first, numbers(2)) + text("b") + tensor(second, numbers(3)) + b"u."
    )
    path = torch_legacy_file(tmp_path / "f", pickle, {"0": (4, FOUR.tobytes())})
    assert_same(read_checkpoint(path), {"a": FOUR[:2], "b": FOUR[1:]})


def test_a_tensor_may_not_leave_its_view(tmp_path):
    pickle = plain(view=b"(" + text("v") + integer(1) + integer(2) + b"t", size=numbers(3))
    path = torch_legacy_file(tmp_path / "f", pickle, {"0": (4, FOUR.tobytes())})
    assert "needs 12 bytes of storage '0', which has 8" in reason(path)


def test_every_cut_is_refused(good, tmp_path):
    data = good.read_bytes()
    for length in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:length])
        reason(tmp_path / "cut")


def test_cut_short_says_so(good):
    good.write_bytes(good.read_bytes()[:-1])
    size = good.stat().st_size
    assert (
        reason(good)
        == f"it is cut short: storage '0' ends at byte {size + 1}, the file at {size}; download it again"
    )


def test_bytes_after_the_end(good):
    good.write_bytes(good.read_bytes() + b"more")
    assert reason(good).startswith("it has 4 bytes after its last storage")


@pytest.mark.parametrize("count", [-1, 0, 3, 5, 2**62])
def test_counts_that_differ(count, tmp_path):
    path = torch_legacy_file(tmp_path / "f", plain(), {"0": (count, FOUR.tobytes())})
    assert reason(path) == f"its storage '0' has {count} elements, its pickle says 4"


def test_a_huge_storage(tmp_path):
    path = torch_legacy_file(
        tmp_path / "f", one(tensor(storage(numel=2**60, view=b"N"))), {"0": (2**60, b"")}
    )
    assert "it is cut short: storage '0' ends at byte 46116860184273" in reason(path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (b"]", "its list of 0 storages does not match the 1 that its pickle uses"),
        (b"](" + text("0") + text("0") + b"e", "its list of 2 storages"),
        (b"](" + text("0") + text("1") + b"e", "its list of 2 storages"),
        (b"]" + text("1") + b"a", "its list of 1 storages"),
        (b"]]a", "its list of storages is damaged"),
        (b"N", "its list of storages is damaged"),
        (b"cos\nsystem\n", "its pickle names 'os.system'"),
    ],
)
def test_key_lists(keys, message, tmp_path):
    path = torch_legacy_file(tmp_path / "f", plain(), {"0": (4, FOUR.tobytes())}, keys)
    assert reason(path).startswith(message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (MAGIC + b"\x80\x02M\xe8\x03." + SYS_INFO, "has torch.save's protocol 1000; only 1001 is known"),
        (
            b"\x80\x02N." + MAGIC + SYS_INFO,
            "is a pickle, but not from torch.save: its magic number is missing",
        ),
        (MAGIC + PROTOCOL + b"\x80\x02N.", "its header is damaged"),
        (MAGIC + PROTOCOL + b"cos\nsystem\n.", "its pickle names 'os.system'"),
    ],
)
def test_headers(header, message, good):
    good.write_bytes(header + good.read_bytes().removeprefix(MAGIC + PROTOCOL + SYS_INFO))
    assert reason(good).startswith(message)
