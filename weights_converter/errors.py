"""The one error of this package."""

import os


class CheckpointError(ValueError):
    """A checkpoint cannot be read, converted or written.

    The message names the file (where there is one), what came, what was expected and what to try.
    """

    def __init__(self, reason: str, path: str | os.PathLike | None = None):
        super().__init__(reason if path is None else f"{os.fspath(path)}: {reason}")
        self.reason = reason
        self.path = None if path is None else os.fspath(path)
