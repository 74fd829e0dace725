"""Zip archives that could be read in two ways, or that hide something, are refused."""

import struct
import warnings
import zipfile

import pytest

from tests.weights_converter.assembled import assert_same, reason, small_tensors, zip_file
from weights_converter.readers import read_checkpoint, zip_records
from weights_converter.writers import write_torch_zip


@pytest.fixture
def good(tmp_path):
    write_torch_zip(tmp_path / "good.pth", small_tensors())
    return tmp_path / "good.pth"


def records_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def patched(path, find: bytes, replacement: bytes, occurrence: int = 0):
    """The file with one occurrence of some bytes replaced."""
    data = path.read_bytes()
    at = -1
    for _ in range(occurrence + 1):
        at = data.index(find, at + 1)
    path.write_bytes(data[:at] + replacement + data[at + len(find) :])
    return path


@pytest.mark.parametrize(
    "name",
    ["../evil", "archive/../evil", "/etc/passwd", "archive//x", "archive/./x", "archive\\x", "C:\\x", ".."],
)
def test_names_that_lead_out(good, name, tmp_path):
    path = zip_file(tmp_path / "bad", records_of(good) | {name: b"x"})
    assert reason(path) == f"it has a record with the unsafe name {name!r}"


def test_a_name_with_nul(good, tmp_path):
    path = zip_file(tmp_path / "bad", records_of(good) | {"archive/data/?evil": b"x"})
    data = path.read_bytes().replace(b"data/?evil", b"data/\0evil")
    path.write_bytes(data)
    assert reason(path).startswith("it has a record with the unsafe name")


def test_a_name_twice(good):
    with warnings.catch_warnings(), zipfile.ZipFile(good, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data/0", bytes(60))
    assert reason(good) == "it has two records named 'archive/data/0'"


def test_two_folders(good, tmp_path):
    assert reason(zip_file(tmp_path / "bad", records_of(good) | {"other/x": b""})).startswith(
        "is a zip archive with 2"
    )


def test_records_that_overlap(good):
    # The directory entry of data/1 now points to the record of data/0, under a name that agrees.
    data = bytearray(good.read_bytes())
    second = data.index(b"archive/data/1", data.index(b"PK\x01\x02")) - 46
    first = data.index(b"archive/data/0", data.index(b"PK\x01\x02")) - 46
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    good.write_bytes(data)
    assert reason(good) == "its record 'archive/data/1' differs from the zip directory; it is damaged"


def test_a_record_inside_another(tmp_path):
    inner = zip_file(tmp_path / "inner", {"archive/data/0": b"evil"}).read_bytes()[: 30 + 14 + 4]
    path = zip_file(
        tmp_path / "outer", {"archive/data.pkl": b"", "archive/data/9": inner, "archive/data/0": b"evil"}
    )
    data = bytearray(path.read_bytes())
    entry = data.index(b"archive/data/0", data.index(b"PK\x01\x02")) - 46
    data[entry + 42 : entry + 46] = struct.pack("<I", data.index(inner))
    path.write_bytes(data)
    assert reason(path) == "its record 'archive/data/0' overlaps another; it is damaged"


def test_the_local_header_has_another_name(good):
    patched(good, b"archive/data/0", b"archive/data/x")
    assert reason(good) == "its record 'archive/data/0' differs from the zip directory; it is damaged"


@pytest.mark.parametrize(("field", "size"), [(6, 2), (8, 2), (14, 4), (18, 4), (22, 4)])
def test_the_local_header_has_other_fields(good, field, size):
    data = bytearray(good.read_bytes())
    at = data.index(b"archive/data/0") - 30 + field
    data[at : at + size] = (int.from_bytes(data[at : at + size], "little") ^ 0x10).to_bytes(size, "little")
    good.write_bytes(data)
    assert reason(good) == "its record 'archive/data/0' differs from the zip directory; it is damaged"


def test_encrypted(good):
    data = bytearray(good.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    good.write_bytes(data)
    assert reason(good) == "its record 'archive/data.pkl' is encrypted"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(good, compression, tmp_path):
    path = zip_file(tmp_path / "bad", records_of(good), compression)
    assert reason(path) == "its record 'archive/data.pkl' is compressed in a way other than deflate"


def test_flipped_weights(good):
    data = bytearray(good.read_bytes())
    data[data.index(small_tensors()["conv.weight"].tobytes()) + 3] ^= 0x80  # a sign
    good.write_bytes(data)
    assert reason(good) == "its record 'archive/data/0' is damaged (CRC-32 does not match); download it again"


def test_a_bomb(tmp_path):
    records = {f"archive/data/{number}": bytes(2**22) for number in range(20)}
    path = zip_file(tmp_path / "bomb", {"archive/data.pkl": b"."} | records, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    assert reason(path).startswith("its compressed records would unpack to 83886081 bytes")


def test_more_than_a_deflated_record_says(good, tmp_path):
    path = zip_file(
        tmp_path / "bomb", records_of(good) | {"archive/data/0": bytes(777_777)}, zipfile.ZIP_DEFLATED
    )
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 777_777), struct.pack("<I", 60)))
    assert reason(path) == "its record 'archive/data/0' is damaged (it does not unpack to its size)"


def test_damaged_deflate(good, tmp_path):
    path = zip_file(tmp_path / "bad", records_of(good), zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    begin = data.index(b"archive/data.pkl") + 16
    data[begin : begin + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert reason(path) == "its record 'archive/data.pkl' is damaged (it does not unpack)"


def test_an_endless_directory(good, monkeypatch):
    monkeypatch.setattr(zip_records, "MAX_DIRECTORY", 500)
    assert "is too long" in reason(good)


def without_checksums(path):
    """As torch.serialization.set_crc32_options(False) leaves a file: every checksum is 0."""
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset : at + offset + 4] = bytes(4)
            at = data.find(signature, at + 1)
    path.write_bytes(data)


def test_a_file_without_any_checksum_is_read(good):
    without_checksums(good)
    assert_same(read_checkpoint(good), small_tensors())


def test_one_checksum_makes_zeros_count(good):
    data = bytearray(good.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = data.index(b"archive/data/0", data.index(signature)) - (30 if offset == 14 else 46) + offset
        data[at : at + 4] = bytes(4)
    good.write_bytes(data)
    assert reason(good) == "its record 'archive/data/0' is damaged (CRC-32 does not match); download it again"
