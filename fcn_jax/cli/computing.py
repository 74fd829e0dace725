"""JAX for the commands that compute: a platform that starts, and compiled programs kept on disk."""

import os
from typing import Any

import jax

from fcn_jax.backend import start_backend
from fcn_jax.weights.download.cache import cache_folder


def start_computing() -> None:
    """Starts JAX, and turns its persistent compilation cache on.

    Raises:
      BackendError: the platform cannot be started.
    """
    start_backend()
    keep_compiled()


def keep_compiled() -> None:
    """Turns on JAX's persistent compilation cache, in `compiled` of the folder of the weights.

    The second start of a command then does not compile again. `FCN_JAX_COMPILATION_CACHE=0` leaves the cache
    off; where JAX already has a folder for it, that stays.
    """
    config: Any = jax.config  # which declares its settings at run time only
    if os.environ.get("FCN_JAX_COMPILATION_CACHE") == "0" or config.jax_compilation_cache_dir:
        return
    config.update("jax_compilation_cache_dir", os.fspath(cache_folder() / "compiled"))
    config.update("jax_persistent_cache_min_compile_time_secs", 0)  # many small programs take seconds too
