"""A file as read-only memory, and what is said of files that cannot be read."""

import contextlib
import mmap
import os
import stat
from collections.abc import Iterator

from weights_converter.errors import CheckpointError


def map_file(path: str | os.PathLike) -> mmap.mmap:
    """Maps a whole file read-only.

    Arrays made over the map keep it, and so the file's contents, alive. They show the file as it is on disk:
    replace a checkpoint by renaming a new one over it (as this package does), never by writing into it.

    Args:
      path: an ordinary file of at least one byte.

    Raises:
      CheckpointError: nothing is there, it is a folder or a device, it is empty or may not be read.
    """
    with naming(path):
        # Asked before opening: to open a named pipe would wait for someone to write into it.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise CheckpointError("is a folder; give the checkpoint file inside it")
        if not stat.S_ISREG(mode):
            raise CheckpointError("is not an ordinary file")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError("is an empty file; download or save it again")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Puts the file's name before the reason of whatever error comes out of the block."""
    try:
        yield
    except CheckpointError as error:
        error.about(path)
        raise
    except FileNotFoundError as error:
        raise CheckpointError("there is no such file", path) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise CheckpointError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path) from error
    except MemoryError as error:
        raise CheckpointError("cannot be read: there is not enough memory", path) from error
