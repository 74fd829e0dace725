"""JAX for the commands that compute: a platform that starts, and compiled programs kept on disk."""

import os
from typing import Any

import jax

from fcn_jax.errors import BackendError
from fcn_jax.weights.download.cache import cache_folder


def start_computing() -> None:
    """Starts JAX, and turns its persistent compilation cache on.

    Raises:
      BackendError: see `start_backend`.
    """
    start_backend()
    keep_compiled()


def start_backend() -> None:
    """Starts the platform that JAX computes on: before anything long, and with words for what can go wrong.

    Raises:
      BackendError: it cannot be started; the message names the setting.
    """
    try:
        jax.devices()
    except Exception as error:  # for a missing plugin even an AssertionError without words
        asked = os.environ.get("JAX_PLATFORMS", "")
        said = str(error).partition("\n")[0].partition(" (set JAX_PLATFORMS=")[0].rstrip(".")
        where = f" on {asked!r}, which JAX_PLATFORMS asks for" if asked else ""
        raise BackendError(
            f"JAX cannot start{where}: {said or 'it does not say why'}",
            hint="unset JAX_PLATFORMS to compute on the best that this machine has, or set it to cpu",
        ) from error


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
