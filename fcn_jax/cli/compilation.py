"""Compiled networks are kept on disk, so that the second start of a command does not compile again."""

import os

import jax

from fcn_jax.weights.download.cache import cache_folder


def keep_compiled() -> None:
    """Turns on JAX's persistent compilation cache, in `compiled` of the folder of the weights.

    `FCN_JAX_COMPILATION_CACHE=0` leaves it off; where JAX already has a folder for it, that stays.
    """
    if os.environ.get("FCN_JAX_COMPILATION_CACHE") == "0" or jax.config.jax_compilation_cache_dir:
        return
    jax.config.update("jax_compilation_cache_dir", os.fspath(cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # many small programs take seconds too
