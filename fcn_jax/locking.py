"""A lock between processes: one at a time writes a file or a folder."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_POLL_SECONDS = 0.1
_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}


@contextlib.contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[bool]:
    """Holds the lock file at `path`; waits while another process or thread holds it.

    The kernel frees the lock when the process ends in any way. The empty file stays: after a removal two
    processes could hold locks on two files with the same name.

    Args:
      path: the lock file; created if missing.
      on_wait: called once if the lock is taken.

    Yields:
      Whether the lock is held. False if the platform or the file system has no locks (some network folders):
      the caller must then avoid conflicts by itself.

    Raises:
      OSError: the file cannot be created.
    """
    with open(path, "ab", opener=_without_following) as file:
        held = _lock(file)
        if held is False:
            on_wait()
        while held is False:
            time.sleep(_POLL_SECONDS)
            held = _lock(file)
        try:
            yield bool(held)
        finally:
            if held:
                _unlock(file)


def _without_following(path: str, flags: int) -> int:
    """Opens a file, but no link that someone put in its place."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


if sys.platform == "win32":

    def _take(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _unlock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:

    def _take(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


def _lock(file: BinaryIO) -> bool | None:
    """Tries to take the lock. Returns True if taken, False if another holds it, None without locks here."""
    try:
        _take(file)
    except OSError as error:
        return False if error.errno in _TAKEN else None
    return True
