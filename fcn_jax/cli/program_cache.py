"""JAX's compilation cache on disk, with a digest of each program and its name; damaged ones are replaced.

JAX trusts what it finds. Of a truncated file it warns at every start and keeps it; a file under another
program's name it would run. Here neither reaches JAX: such a file is removed, so the next one is kept. A
cache that cannot be written is told of once, and work goes on without it.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from fcn_jax.cli.messages import say
from weights_converter.files import replacing

MAGIC = b"fcn_jax program 1\n"


class ProgramCache:
    """Stores programs by key; what JAX needs of a cache.

    Args:
      folder: created if necessary.
      tell: told once why programs cannot be kept.

    Raises:
      OSError: the folder cannot be created or written to.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None] = say):
        self._path = folder  # JAX's name for it
        self._tell: Callable[[str], None] | None = tell
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))

    def get(self, key: str) -> bytes | None:
        """Returns a program; None if there is none, or none that is whole and its own."""
        file = self._file(key)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._told(error)
            return None
        start = len(MAGIC) + hashlib.sha256().digest_size
        value = content[start:]
        if content[:start] == MAGIC + _digest(key, value):
            return value
        with contextlib.suppress(OSError):
            file.unlink()
        return None

    def put(self, key: str, value: bytes) -> None:
        """Stores a program, whole or not at all."""
        try:
            with replacing(self._file(key)) as temporary:
                temporary.write_bytes(MAGIC + _digest(key, value) + value)
        except OSError as error:
            self._told(error)

    def _file(self, key: str) -> Path:
        return self._path / f"{key}-cache"

    def _told(self, error: OSError) -> None:
        if self._tell is not None:
            self._tell(cannot_keep(self._path, error))
            self._tell = None


def cannot_keep(folder: Path, error: OSError) -> str:
    """Words why programs are not kept."""
    why = error.strerror or str(error)
    return f"compiled programs are not kept in {folder} ({why}); FCN_JAX_CACHE names another folder"


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + value).digest()
