"""Fixtures of the whole suite."""

import jax
import pytest


@pytest.fixture
def float64():
    """Lets JAX compute in float64 during one test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
