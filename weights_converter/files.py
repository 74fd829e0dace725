"""Writes files whole or not at all."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows; it neither renames nor removes an open file
    fcntl = None

_LEFTOVER = re.compile(r"\..*\.[0-9a-f]{16}\.partial(\.[^.]*)?")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` when the block ends without an error.

    If the block raises, the temporary file is removed and `path` is left as it was. If the process is killed,
    the temporary file stays: see `remove_leftovers`.

    Args:
      path: the final name. Its folder must exist.

    Yields:
      A path in the same folder and with the same suffix: an empty file with the usual permissions.

    Raises:
      OSError: the file cannot be written. An OSError from the block that names no file gets `path`.
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
                error.filename = os.fspath(path)  # for a full disk the system often names none
            raise


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Removes the temporary files that killed processes left in a folder.

    `replacing` holds a lock on its file, and the system frees the lock when the process ends. Only files
    with a free lock are removed, so other processes may write to the folder at the same time. On a file
    system without locks nothing is removed.

    Args:
      folder: where `replacing` was used; subfolders are not searched.

    Returns:
      The removed files.

    Raises:
      OSError: the folder cannot be listed.
    """
    removed = []
    for path in sorted(Path(folder).iterdir()):
        if _LEFTOVER.fullmatch(path.name):
            with contextlib.suppress(OSError):  # in use, or just renamed by its process
                with path.open("rb") as file:
                    if fcntl is not None:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        path.unlink()
                if fcntl is None:
                    path.unlink()
                removed.append(path)
    return removed


def _create_beside(path: Path) -> tuple[BinaryIO, Path]:
    """Creates an empty file with a unique name, and locks it if the file system has locks."""
    while True:
        name = f".{path.stem[:40]}.{secrets.token_hex(8)}.partial{path.suffix}"
        temporary = path.with_name(name)
        try:
            file = temporary.open("x+b")
        except OSError as error:
            error.filename = os.fspath(path)
            raise
        if fcntl is not None:
            with contextlib.suppress(OSError):  # no locks on this file system
                fcntl.flock(file, fcntl.LOCK_EX)
        if fcntl is None or os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()  # `remove_leftovers` removed it before it was locked
