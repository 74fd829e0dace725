"""What commands compiled is kept, unless someone has decided otherwise."""

import math
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax._src import compilation_cache as private_cache
from jax.experimental.compilation_cache import compilation_cache

from fcn_jax.cli.computing import keep_compiled
from fcn_jax.cli.program_cache import ProgramCache


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_JAX_CACHE", str(tmp_path))
    monkeypatch.delenv("FCN_JAX_COMPILATION_CACHE", raising=False)
    monkeypatch.setattr(private_cache, "get_file_cache", private_cache.get_file_cache)
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


@pytest.mark.filterwarnings("default")
def test_a_program_under_another_ones_name_is_not_run(fresh_cache, cache):
    """Whole files that have changed places: JAX would run the wrong program without a word."""
    programs, shown = fresh_cache

    def peculiar_double(x):
        return x * 2

    def peculiar_triple(x):
        return x * 3

    jax.jit(peculiar_double)(1.5), jax.jit(peculiar_triple)(1.5)
    (one, first), (other, second) = programs().items()
    (cache / "compiled" / one).write_bytes(second)
    (cache / "compiled" / other).write_bytes(first)
    jax.clear_caches()
    assert (jax.jit(peculiar_double)(1.5), jax.jit(peculiar_triple)(1.5)) == (3, 4.5)
    assert set(programs()) == {one, other}
    assert shown == []


def test_a_program_is_kept_whole(tmp_path):
    told = []
    programs = ProgramCache(tmp_path / "new", told.append)
    assert programs.get("key") is None
    programs.put("key", b"program")
    assert programs.get("key") == b"program"
    file = tmp_path / "new" / "key-cache"
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert programs.get("key") is None
        assert not file.exists()
    file.mkdir()  # can be neither read nor written as a file
    assert programs.get("key") is None
    programs.put("key", b"program")
    assert len(told) == 1
    assert "compiled programs are not kept in" in told[0]


@pytest.mark.parametrize("kind", ["file", "homeless"])
def test_work_goes_on_without_a_cache(cache, monkeypatch, capsys, kind):
    if kind == "file":
        (cache / "compiled").write_text("in the way")
    else:
        monkeypatch.delenv("FCN_JAX_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

        def fail(self):
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "expanduser", fail)
    keep_compiled()
    assert jax.config.jax_compilation_cache_dir is None
    said = capsys.readouterr().err
    assert said.startswith("fcn-jax: compiled programs are not kept")
    assert "FCN_JAX_CACHE" in said
