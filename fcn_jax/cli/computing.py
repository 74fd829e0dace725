"""Starts JAX for the commands that compute, with a compilation cache on disk."""

import os
from typing import Any

import jax

from fcn_jax.backend import start_backend
from fcn_jax.weights.download.cache import cache_folder


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
    config.update("jax_compilation_cache_dir", os.fspath(cache_folder() / "compiled"))
    config.update("jax_persistent_cache_min_compile_time_secs", 0)  # many small ones take seconds too
