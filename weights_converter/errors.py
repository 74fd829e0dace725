"""Errors that a user can cause. Any other exception is a bug, and its traceback is wanted."""

import os
import re
from collections.abc import Mapping
from typing import ClassVar


class FCNError(Exception):
    """The base of every error of `weights_converter` and `fcn_jax` that a user can cause.

    The message consists of the fields: the file first, then what is wrong, then what to do.

        raise CheckpointError(path=path, expected="a .pth file", got="a folder", hint="name one of its files")

    A hint may name an argument in braces, as "choose a smaller {tile}". In Python it reads "choose a smaller
    tile"; a command line puts its own option there.

    Args:
      reason: what is wrong, in words; if not given, "expected ..., got ...".
      path: the file concerned.
      subject: the argument or the name concerned.
      expected: what would have been right.
      got: what was given instead.
      hint: what to do.

    Attributes:
      reason, path, subject, expected, got, hint: as given, `path` as text.
      before_hint: the text between the reason and the hint.
    """

    before_hint: ClassVar[str] = "; "

    def __init__(
        self,
        reason: str | None = None,
        path: str | os.PathLike | None = None,
        *,
        subject: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ):
        if reason is None:
            reason = f"expected {expected}" + ("" if got is None else f", got {got}")
        super().__init__(reason)
        self.reason = reason
        self.path = None if path is None else os.fspath(path)
        self.subject, self.expected, self.got, self.hint = subject, expected, got, hint

    def __str__(self) -> str:
        return self.words()

    def words(self, names: Mapping[str, str] | None = None) -> str:
        """Returns the whole message.

        Args:
          names: {argument: another name for it}, for the arguments that the subject or the hint mentions.
        """
        names = names or {}
        subject = None if self.subject is None else names.get(self.subject, self.subject)
        lead = "".join(f"{part}: " for part in (self.path, subject) if part is not None)
        text = f"{lead}{self.reason}"
        if self.hint is not None:
            text += self.before_hint + re.sub(
                r'\{([\w.="]+)\}', lambda found: names.get(found[1], found[1]), self.hint
            )
        return text

    def about(self, path: str | os.PathLike | None) -> "FCNError":
        """Sets the file if the error does not have one yet; returns the error itself."""
        if self.path is None and path is not None:
            self.path = os.fspath(path)
        return self

    def __reduce__(self):
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[FCNError], args: tuple, fields: dict) -> FCNError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class SettingError(FCNError, ValueError):
    """An argument or a setting has a value that makes no sense, or that contradicts another."""


class CheckpointError(FCNError, ValueError):
    """A checkpoint cannot be read, converted or written."""
