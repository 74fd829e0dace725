"""The folder for downloads."""

import os
import sys
from pathlib import Path

from fcn_jax.errors import SettingError


def cache_folder() -> Path:
    """Returns the folder for downloaded weights; it need not exist yet.

    It is `FCN_JAX_CACHE`, or else `fcn_jax` in the user's cache folder: `$XDG_CACHE_HOME` or ~/.cache on
    Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows.

    Raises:
      SettingError: the user has no home folder.
    """
    chosen = os.environ.get("FCN_JAX_CACHE")
    if chosen:
        return _expanded(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # the XDG specification says to ignore a relative path
            base = "~/.cache"
    return _expanded(base) / "fcn_jax"


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SettingError(
            "there is no home folder for the cache", hint="set FCN_JAX_CACHE to a folder"
        ) from error
