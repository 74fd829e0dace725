"""Fixtures of the whole suite."""

import gc
import os

import jax
import pytest

# Commands keep what they compiled in the user's cache; in tests they do not, nor do processes that these
# start.
os.environ["FCN_JAX_COMPILATION_CACHE"] = "0"


@pytest.fixture
def float64():
    """Lets JAX compute in float64 during one test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """Lets go of what a module's tests have compiled, which together would take many gigabytes."""
    yield
    jax.clear_caches()
    gc.collect()
