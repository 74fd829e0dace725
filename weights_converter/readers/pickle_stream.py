"""A file-like view of bytes for `pickletools`."""

from weights_converter.errors import CheckpointError

MAX_LINE = 8192  # bytes of a text argument: a name, or a number of at most 4300 digits


class Stream:
    """Reads bytes in order. Reading past the end, or a long line, raises CheckpointError.

    Args:
      data: a memoryview of bytes.
      position: where to begin; the attribute moves as bytes are read.
    """

    def __init__(self, data: memoryview, position: int = 0):
        self.data = data
        self.position = position

    def read(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise CheckpointError("it ends in the middle of its pickle")
        taken = bytes(self.data[self.position : end])
        self.position = end
        return taken

    def readline(self) -> bytes:
        ahead = bytes(self.data[self.position : self.position + MAX_LINE])
        length = ahead.find(b"\n") + 1
        if not length:
            raise CheckpointError("a line of its pickle does not end")
        self.position += length
        return ahead[:length]
