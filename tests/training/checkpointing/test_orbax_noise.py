"""What Orbax tells stays away from the terminal, and only that."""

import logging
import sys
import types

import pytest

from fcn_jax.training.checkpointing.orbax_noise import ORBAX, hush_orbax


def called_from(path, code, **names):
    """Runs code as if it stood in another file."""
    exec(compile(code, path, "exec"), names)
    return names


@pytest.fixture
def heard(monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    hush_orbax()
    hush_orbax()
    return heard


def coroutine_of(path):
    return called_from(path, "async def read(): pass\ncoroutine = read()")["coroutine"]


@pytest.mark.parametrize(("path", "passes"), [(f"/site/{ORBAX}/a.py", False), ("/site/grain/a.py", True)])
def test_errors_of_coroutines(heard, path, passes):
    coroutine = coroutine_of(path)
    sys.unraisablehook(types.SimpleNamespace(object=coroutine, exc_value=ValueError(), exc_traceback=None))
    coroutine.close()
    assert len(heard) == passes


@pytest.mark.parametrize(
    ("path", "message", "passes"),
    [
        ("uvloop/loop.pyx", "Event loop is closed", False),
        ("/lib/asyncio/base_events.py", "Event loop is closed", False),
        ("uvloop/loop.pyx", "another error", True),
        ("/site/mine.py", "Event loop is closed", True),
    ],
)
def test_errors_of_late_reads(heard, path, message, passes):
    names = called_from(
        path,
        "try: raise RuntimeError(message)\nexcept RuntimeError as error: caught = error",
        message=message,
    )
    caught = names["caught"]
    sys.unraisablehook(
        types.SimpleNamespace(object=None, exc_value=caught, exc_traceback=caught.__traceback__)
    )
    assert len(heard) == passes


@pytest.mark.parametrize("name", ["absl", None])
@pytest.mark.parametrize(("path", "passes"), [(f"/site/{ORBAX}/a.py", False), ("/site/grain/a.py", True)])
def test_log(heard, caplog, name, path, passes):
    called_from(path, "logger.warning('something')", logger=logging.getLogger(name))
    assert len(caplog.records) == passes


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        (f"Task exception was never retrieved: {ORBAX}/serialization.py", False),
        ("Future exception was never retrieved: tensorstore_spec", False),
        ("Task exception was never retrieved: mine.py", True),
        ("tensorstore is slow", True),
    ],
)
def test_log_of_asyncio(heard, caplog, message, passes):
    logging.getLogger("asyncio").error(message)
    assert len(caplog.records) == passes
