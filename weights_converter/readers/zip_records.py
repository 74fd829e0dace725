"""Finds the records of a zip archive in the mapped file, and verifies their checksums.

The standard library reads the directory at the archive's end; the bytes come from the mapped file. Two
readers of one zip file can disagree (duplicate names, overlapping records, a local header that differs from
the directory). An archive that can be read in two ways is refused.
"""

import dataclasses
import io
import mmap
import os
import struct
import zipfile
import zlib

from weights_converter.errors import CheckpointError
from weights_converter.readers.pickle_values import shown

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
SIZES_FOLLOW = 0x08  # flag: sizes and checksum follow the data, and the local header has zeros
UTF8 = 0x800
ENCRYPTED = 0x41
IN_ZIP64 = 0xFFFFFFFF
MAX_DIRECTORY = 4 * 2**20  # bytes; a ResNet-101 needs about 50 000
# torch.save never compresses, but a zip program may have. Deflate reaches 1000:1 on zeros, so the unpacked
# size of all records together is limited to a multiple of the file's size; small files have more room.
MAX_EXPANSION = 20
ALWAYS_ALLOWED = 64 * 2**20  # bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """The place of a record's bytes in the file. `crc` is None in archives without checksums."""

    name: str
    start: int
    stored: int
    size: int
    deflated: bool
    crc: int | None


class _Directory(io.FileIO):
    """A file that zipfile cannot read a huge directory from; zipfile reads the directory in one piece."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise CheckpointError(f"a directory of {size} bytes is too long")
        return super().read(size)


def read_directory(path: str | os.PathLike, mapped: mmap.mmap) -> dict[str, Record]:
    """Lists an archive's records by their full names, without folders.

    Raises:
      CheckpointError: the directory is missing or damaged; a name occurs twice or leads out of the archive;
        records overlap, are encrypted, or unpack to too many bytes.
    """
    try:
        with _Directory(path) as file, zipfile.ZipFile(file) as archive:
            entries, end = archive.infolist(), archive.start_dir
    except Exception as error:  # zipfile raises many kinds of errors for bytes it cannot read
        raise CheckpointError(
            f"its zip directory cannot be read ({str(error)[:80]}); it is damaged or cut short; get it again"
        ) from error
    # torch.serialization.set_crc32_options(False) writes 0 for every checksum; only names and sizes can then
    # be verified. If any checksum is not 0, zeros are verified too.
    without_checksums = all(entry.CRC == 0 for entry in entries)
    records: dict[str, Record] = {}
    behind = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        record = _locate(entry, mapped, without_checksums)
        if entry.header_offset < behind or record.start + record.stored > end:
            raise CheckpointError(f"its record {shown(record.name)} overlaps another; it is damaged")
        behind = record.start + record.stored
        if record.name in records:
            raise CheckpointError(f"it has two records named {shown(record.name)}")
        records[record.name] = record
    unpacked = sum(record.size for record in records.values() if record.deflated)
    if unpacked > max(ALWAYS_ALLOWED, MAX_EXPANSION * len(mapped)):
        raise CheckpointError(
            f"its compressed records would unpack to {unpacked} bytes, from a file of {len(mapped)}"
        )
    return {name: record for name, record in records.items() if not name.endswith("/")}


def contents(record: Record, mapped: mmap.mmap) -> memoryview | bytes:
    """Returns a record's bytes, unpacked and verified.

    Raises:
      CheckpointError: the record's size or checksum is wrong.
    """
    data = memoryview(mapped)[record.start : record.start + record.stored]
    if record.deflated:
        data = _inflated(record, data)
    if record.crc is not None and zlib.crc32(data) != record.crc:
        raise CheckpointError(
            f"its record {shown(record.name)} is damaged (CRC-32 does not match); download it again"
        )
    return data


def _locate(entry: zipfile.ZipInfo, mapped: mmap.mmap, without_checksums: bool) -> Record:
    """Compares a directory entry with the local header that it points to."""
    name = entry.orig_filename  # `filename` has been cut at a NUL
    if _leads_out(name):
        raise CheckpointError(f"it has a record with the unsafe name {shown(name)}")
    if entry.flag_bits & ENCRYPTED:
        raise CheckpointError(f"its record {shown(name)} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CheckpointError(f"its record {shown(name)} is compressed in a way other than deflate")
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    begin = entry.header_offset + LOCAL_HEADER.size
    differs = CheckpointError(f"its record {shown(name)} differs from the zip directory; it is damaged")
    if (
        entry.header_offset < 0
        or begin > len(mapped)
        or (not deflated and entry.compress_size != entry.file_size)
    ):
        raise differs
    signature, _, flags, method, _, _, crc, stored, size, name_length, extra_length = LOCAL_HEADER.unpack(
        mapped[entry.header_offset : begin]
    )
    later = (0,) if flags & SIZES_FOLLOW else ()
    agree = (
        signature == b"PK\x03\x04"
        and flags == entry.flag_bits
        and method == entry.compress_type
        and mapped[begin : begin + name_length] == name.encode("utf-8" if flags & UTF8 else "cp437")
        and crc in (entry.CRC, *later)
        and stored in (entry.compress_size, IN_ZIP64, *later)
        and size in (entry.file_size, IN_ZIP64, *later)
    )
    if not agree:
        raise differs
    start = begin + name_length + extra_length
    return Record(
        name, start, entry.compress_size, entry.file_size, deflated, None if without_checksums else entry.CRC
    )


def _leads_out(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    return "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts)


def _inflated(record: Record, data: memoryview) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(data, record.size + 1)  # one byte more than allowed
    except zlib.error as error:
        raise CheckpointError(f"its record {shown(record.name)} is damaged (it does not unpack)") from error
    if len(unpacked) != record.size or not unpacker.eof or unpacker.unused_data:
        raise CheckpointError(f"its record {shown(record.name)} is damaged (it does not unpack to its size)")
    return unpacked
