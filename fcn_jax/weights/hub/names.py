"""Names of files on the hub: hf://user/repo[@revision][/file]."""

import os
import re
from typing import Any, NamedTuple, Self
from urllib.parse import quote, unquote

from fcn_jax.errors import SettingError

SCHEME = "hf://"
_WRITTEN_AS_PATH = "hf:/"  # what pathlib makes of it
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_NAME = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[^/@\s]+))?(?:/(?P<file>[^\s].*))?")


class HubName(NamedTuple):
    """A file in a repository of the hub.

    Attributes:
      repo: "user/repo".
      revision: a branch, a tag or a commit; None for the main branch.
      file: the path inside the repository; None for its only file of weights.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str | os.PathLike) -> Self:
        """Reads a name. A slash inside a revision is written %2F.

        Raises:
          SettingError: the text is no such name.
        """
        written = os.fspath(text)
        for scheme in (SCHEME, _WRITTEN_AS_PATH):
            if written.startswith(scheme):
                found = _NAME.fullmatch(written.removeprefix(scheme).rstrip("/"))
                if found and not {"..", "."} & set((found["file"] or "").split("/")):
                    revision = None if found["revision"] is None else unquote(found["revision"])
                    return cls(found["repo"], revision, found["file"])
                break
        raise SettingError(
            expected="a name as hf://user/repo, hf://user/repo@revision or hf://user/repo/file",
            got=repr(written),
        )

    def __str__(self) -> str:
        revision = "" if self.revision is None else "@" + quote(self.revision, safe="")
        return f"{SCHEME}{self.repo}{revision}" + ("" if self.file is None else f"/{self.file}")


def is_hub_name(source: Any) -> bool:
    """Whether this is text or a path that begins with hf://."""
    return isinstance(source, str | os.PathLike) and str(os.fspath(source)).startswith(_WRITTEN_AS_PATH)
