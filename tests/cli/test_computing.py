"""What commands compiled is kept, unless someone has decided otherwise."""

import jax
import pytest

from fcn_jax.cli.computing import keep_compiled


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_JAX_CACHE", str(tmp_path))
    monkeypatch.delenv("FCN_JAX_COMPILATION_CACHE", raising=False)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_beside_the_weights(cache):
    keep_compiled()
    assert jax.config.jax_compilation_cache_dir == str(cache / "compiled")


def test_switched_off(monkeypatch):
    monkeypatch.setenv("FCN_JAX_COMPILATION_CACHE", "0")
    keep_compiled()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_folder_that_jax_already_has_stays():
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    keep_compiled()
    assert jax.config.jax_compilation_cache_dir == "elsewhere"
