"""What commands compiled is kept, unless someone has decided otherwise."""

import math
import warnings

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

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


@pytest.fixture
def fresh_cache(cache, monkeypatch):
    """JAX's cache in a folder of its own: the programs in it, and the warnings that were shown."""
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: shown.append(str(message)))
    compilation_cache.reset_cache()
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    keep_compiled()

    def programs():
        return {path.name: path.read_bytes() for path in (cache / "compiled").glob("jit_peculiar*-cache")}

    yield programs, shown
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before)
    compilation_cache.reset_cache()


@pytest.mark.filterwarnings("default")
def test_a_damaged_program_is_replaced_in_silence(fresh_cache, cache):
    programs, shown = fresh_cache

    def peculiar(x):
        return jnp.tanh(x) * 3.25

    jax.jit(peculiar)(1.0)
    ((name, whole),) = programs().items()
    (cache / "compiled" / name).write_bytes(whole[: len(whole) // 2])
    jax.clear_caches()
    assert jax.jit(peculiar)(1.0) == pytest.approx(3.25 * math.tanh(1))
    assert list(programs()) == [name]
    assert len(programs()[name]) > len(whole) // 2
    warnings.warn("another warning", stacklevel=1)
    assert shown == ["another warning"]
