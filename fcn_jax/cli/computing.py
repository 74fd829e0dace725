"""Starts JAX for the commands that compute, with a compilation cache on disk."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

import jax

from fcn_jax.backend import start_backend
from fcn_jax.weights.download.cache import cache_folder

_DAMAGED = re.compile(r"Error reading persistent compilation cache entry for '([\w.-]+)'")


def start_computing() -> None:
    """Starts JAX and its persistent compilation cache.

    Raises:
      BackendError: the platform cannot start.
    """
    start_backend()
    keep_compiled()


def keep_compiled() -> None:
    """Turns on JAX's persistent compilation cache, in the subfolder `compiled` of the weights' cache.

    So a command compiles only at its first start. `FCN_JAX_COMPILATION_CACHE=0` leaves the cache off. A
    folder that JAX already has for it stays.
    """
    config: Any = jax.config  # it declares its settings only at run time
    if os.environ.get("FCN_JAX_COMPILATION_CACHE") == "0" or config.jax_compilation_cache_dir:
        return
    folder = cache_folder() / "compiled"
    config.update("jax_compilation_cache_dir", os.fspath(folder))
    config.update("jax_persistent_cache_min_compile_time_secs", 0)  # many small ones take seconds too
    replace_damaged(folder)


def replace_damaged(folder: Path) -> None:
    """Lets JAX replace damaged programs in its cache, such as those of a process that was killed.

    JAX warns of such a file, compiles, and keeps the file, so it would warn for ever. Instead of the warning,
    the file is removed, with others of the same function, before JAX writes what it compiles.
    """
    show_others = warnings.showwarning

    def show(message: Any, *where: Any, **more: Any) -> None:
        damaged = _DAMAGED.match(str(message))
        if damaged is None:
            show_others(message, *where, **more)
            return
        for path in folder.glob(f"{damaged[1]}*"):
            path.unlink(missing_ok=True)

    warnings.showwarning = show
