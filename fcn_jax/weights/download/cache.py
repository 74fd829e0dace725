"""The folder for downloads."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Returns the folder for downloaded weights; it need not exist yet.

    It is `FCN_JAX_CACHE`, or else `fcn_jax` in the user's cache folder: `$XDG_CACHE_HOME` or ~/.cache on
    Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows.
    """
    chosen = os.environ.get("FCN_JAX_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # the XDG specification says to ignore a relative path
            base = "~/.cache"
    return Path(base).expanduser() / "fcn_jax"
