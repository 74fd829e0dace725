"""Writing a file whole or not at all."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, which neither renames nor removes a file that somebody has open
    fcntl = None

_LEFTOVER = re.compile(r"\..*\.[0-9a-f]{16}\.partial(\.[^.]*)?")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it into place when the block ends well.

    If the block raises, the temporary file is removed and whatever stood at `path` is untouched. If the
    process is killed, the temporary file stays: see `remove_leftovers`.

    Args:
      path: the final name. Its folder must exist.

    Yields:
      A path in the same folder and with the same suffix. It holds an empty file with the permissions that any
      new file gets.

    Raises:
      OSError: the file cannot be written. An OSError of the block that names no file gets the name `path`.
    """
    path = Path(path)
    file, temporary = _create_beside(path)
    with file:
        try:
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            if fcntl is None:
                file.close()
            temporary.replace(path)
        except BaseException as error:
            file.close()
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename in (None, os.fspath(temporary)):
                error.filename = os.fspath(path)  # that the disk is full is often told without a name
            raise


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Removes the temporary files that killed processes left in a folder.

    `replacing` holds a lock on its file, which ends with its process, however that dies. Only files whose
    lock is free are removed, so that any number of processes may write to the folder meanwhile. Where the
    file system has no locks, nothing is removed.

    Args:
      folder: where `replacing` was used; folders inside it are not looked at.

    Returns:
      What was removed.

    Raises:
      OSError: the folder cannot be listed.
    """
    removed = []
    for path in sorted(Path(folder).iterdir()):
        if _LEFTOVER.fullmatch(path.name):
            with contextlib.suppress(OSError):  # it is in use, or its process has just finished with it
                with path.open("rb") as file:
                    if fcntl is not None:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        path.unlink()
                if fcntl is None:
                    path.unlink()
                removed.append(path)
    return removed


def _create_beside(path: Path) -> tuple[BinaryIO, Path]:
    """Makes an empty file with a name of its own, and locks it where there are locks."""
    while True:
        name = f".{path.stem[:40]}.{secrets.token_hex(8)}.partial{path.suffix}"
        temporary = path.with_name(name)
        try:
            file = temporary.open("x+b")
        except OSError as error:
            error.filename = os.fspath(path)
            raise
        if fcntl is not None:
            with contextlib.suppress(OSError):  # no locks here
                fcntl.flock(file, fcntl.LOCK_EX)
        if fcntl is None or os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()  # `remove_leftovers` found it before it was locked
