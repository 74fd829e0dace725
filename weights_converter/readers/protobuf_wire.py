"""Reads the wire format of protocol buffers: a message's fields by number, without a schema, without copying.

    message: key, value, key, value, ...        key: varint of 8 * number + type
    type 0: varint    1: eight bytes    2: length and that many bytes    3, 4: group    5: four bytes

Source: the Encoding chapter of the Protocol Buffers documentation.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.readers.pickle_values import shown

VARINT, FIXED64, LENGTH, GROUP, GROUP_END, FIXED32 = range(6)
WIDTHS = {FIXED64: 8, FIXED32: 4}
MAX_NUMBER = 2**29 - 1
MAX_FIELDS = 1_000_000  # in one file; a run of numbers counts once. A published FCN has about a thousand
MAX_GROUPS = 100  # nested; the limit of the protobuf libraries
LONGEST_LOOK = 2**20  # keys compared in one step


class Field(NamedTuple):
    """One field, or a run of fields with the same key.

    Attributes:
      number: the field's number in the schema.
      wire_type: VARINT, FIXED64, LENGTH or FIXED32.
      value: for VARINT, an int from 0 to 2**64 - 1; for LENGTH, a memoryview of bytes; for FIXED64 and
        FIXED32, an array of unsigned integers: the whole run of fields with the same key.
    """

    number: int
    wire_type: int
    value: Any


class Wire:
    """Reads the messages of one file, which may have MAX_FIELDS fields in total."""

    def __init__(self):
        self.left = MAX_FIELDS

    def fields(self, data: memoryview) -> Iterator[Field]:
        """Lists the fields of a message in order, without groups, which are obsolete.

        Args:
          data: all bytes of the message.

        Raises:
          CheckpointError: the bytes are not a message, or it ends early or has too many fields.
        """
        at = 0
        groups: list[int] = []
        while at < len(data):
            self.left -= 1
            if self.left < 0:
                raise CheckpointError(f"it has more than {MAX_FIELDS} fields")
            begin = at
            number, wire_type, at = read_key(data, at)
            if wire_type == VARINT:
                value, at = read_varint(data, at)
            elif wire_type == LENGTH:
                length, at = read_varint(data, at)
                value, at = data[at : at + length], at + length
                _check_end(at, data, number)
            elif wire_type in WIDTHS:
                width = WIDTHS[wire_type]
                _check_end(at + width, data, number)
                count = _equal_keys(data, begin, 1 + width) if at == begin + 1 else 1
                record = at - begin + width
                value = np.ndarray((count,), f"<u{width}", data, at, (record,))
                at = begin + count * record
            elif wire_type == GROUP and len(groups) < MAX_GROUPS:
                groups.append(number)
                continue
            elif wire_type == GROUP_END and groups and groups.pop() == number:
                continue
            else:
                raise CheckpointError(f"it is damaged: field {number} is a group that does not close or open")
            if not groups:
                yield Field(number, wire_type, value)
        if groups:
            raise CheckpointError(f"it is cut short or damaged: the group {groups[-1]} does not close")


def read_key(data: memoryview, at: int) -> tuple[int, int, int]:
    """Reads a field's key; returns its number, its wire type and the position after it."""
    begin = at
    key, at = read_varint(data, at)
    number, wire_type = key >> 3, key & 7
    if not 0 < number <= MAX_NUMBER or wire_type > FIXED32:
        raise CheckpointError(f"it is damaged: the key {shown(key)} at byte {begin} of a message is invalid")
    return number, wire_type, at


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Reads a number below 2**64, seven bits a byte, lowest first; returns it and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise CheckpointError(f"it is cut short or damaged: a message ends at byte {at} inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and not value >> 64:
            return value, at
    raise CheckpointError("it is damaged: a number has more than 64 bits")


def signed(value: int) -> int:
    """Returns the int64 that a varint stands for."""
    return value - (1 << 64) if value >> 63 else value


def _check_end(end: int, data: memoryview, number: int) -> None:
    if end > len(data):
        raise CheckpointError(
            f"it is cut short or damaged: field {number} ends at byte {shown(end)} of a message that ends at "
            f"{len(data)}; download it again"
        )


def _equal_keys(data: memoryview, begin: int, record: int) -> int:
    """Counts consecutive records of `record` bytes that have the same one-byte key as the one at `begin`."""
    total = (len(data) - begin) // record
    records = np.ndarray((total,), np.uint8, data, begin, (record,))
    count, look = 1, 16
    while count < total:
        other = np.flatnonzero(records[count : count + look] != records[0])
        if other.size:
            return count + int(other[0])
        count, look = count + look, min(4 * look, LONGEST_LOOK)
    return total
