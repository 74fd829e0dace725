"""Fixtures of the whole suite."""

import ctypes
import functools
import gc
import os
import platform
import shutil
import sys

import jax
import pytest

# Commands keep compiled programs in the user's cache, but neither in tests nor in processes that tests start.
os.environ["FCN_JAX_COMPILATION_CACHE"] = "0"

COMPILED = "JAX_COMPILATION_CACHE_DIR"
LARGEST = 2**30  # bytes


def pytest_configure(config):
    """Keeps compiled programs on disk: modules drop theirs from memory, and many compile the same ones.

    They stay for the next session, in pytest's cache, those of each machine apart (`--cache-clear` drops
    them), or in the folder that JAX_COMPILATION_CACHE_DIR names. Processes that tests start inherit the name.
    """
    if COMPILED not in os.environ and hasattr(config, "cache"):
        name = f"compiled on {platform.node()}"
        if sum(path.stat().st_size for path in config.cache.mkdir(name).iterdir()) > LARGEST:
            shutil.rmtree(config.cache.mkdir(name))
        os.environ[COMPILED] = os.fspath(config.cache.mkdir(name))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ.get(COMPILED))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture
def float64():
    """Lets JAX compute in float64 during one test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """Drops what a module's tests have compiled and cached; all modules' together take many gigabytes."""
    yield
    for name in [name for name in sys.modules if name.startswith("tests.")]:
        for value in vars(sys.modules[name]).values():
            if isinstance(value, functools._lru_cache_wrapper) and value.__module__ == name:
                value.cache_clear()
    jax.clear_caches()
    gc.collect()
    if platform.libc_ver()[0] == "glibc":  # which keeps what is freed
        ctypes.CDLL(None).malloc_trim(0)
