"""Starts JAX for the commands that compute, with a compilation cache on disk."""

import os
from typing import Any

import jax
from jax._src import compilation_cache

from fcn_jax.backend import start_backend
from fcn_jax.cli.messages import say
from fcn_jax.cli.program_cache import ProgramCache, cannot_keep
from fcn_jax.errors import FCNError
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
    folder that JAX already has for it stays. Where there is no folder to write to, a line on standard error
    says so.
    """
    config: Any = jax.config  # it declares its settings only at run time
    if os.environ.get("FCN_JAX_COMPILATION_CACHE") == "0" or config.jax_compilation_cache_dir:
        return
    try:
        folder = cache_folder() / "compiled"
        programs = ProgramCache(folder)
    except FCNError as error:
        say(f"compiled programs are not kept: {error}")
        return
    except OSError as error:
        say(cannot_keep(cache_folder(), error))
        return
    config.update("jax_compilation_cache_dir", os.fspath(folder))
    config.update("jax_persistent_cache_min_compile_time_secs", 0)  # many small ones take seconds too
    if hasattr(compilation_cache, "get_file_cache"):  # it is not public: another JAX may lack it
        usual = compilation_cache.get_file_cache

        def find(path: str) -> Any:
            return (programs, path) if path == os.fspath(folder) else usual(path)

        compilation_cache.get_file_cache = find
