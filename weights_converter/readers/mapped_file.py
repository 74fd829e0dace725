"""Maps a file into memory, and words the errors for files that cannot be read."""

import contextlib
import mmap
import os
import stat
from collections.abc import Iterator

from weights_converter.errors import CheckpointError, FCNError


def map_file(path: str | os.PathLike) -> mmap.mmap:
    """Maps a whole file read-only.

    Arrays over the map keep it alive, and show the file as it is on disk. To replace a checkpoint, rename a
    new file over it (as this package does); never write into it: where a file is cut short while it is
    mapped, the system ends the process that reads (SIGBUS), and Python cannot catch that. Reading the file
    instead would hold all of it in memory, a training checkpoint with its optimizer three times the model.

    Args:
      path: an ordinary file of at least one byte.

    Raises:
      CheckpointError: there is no such file, it is a folder or a device, is empty or cannot be read.
    """
    with naming(path):
        # Checked before opening: opening a named pipe waits for a writer.
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
    """Adds the file's name to any error that the block raises."""
    try:
        yield
    except CheckpointError as error:
        error.about(path)
        raise
    except FCNError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError("there is no such file", path) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise CheckpointError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path) from error
    except MemoryError as error:
        raise CheckpointError("cannot be read: there is not enough memory", path) from error
