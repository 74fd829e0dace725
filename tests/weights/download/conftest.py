"""Every test here has short waits, an environment of its own, a server and an empty cache."""

import pytest

from fcn_jax import locking
from fcn_jax.weights.download import fetching, transfer
from tests.weights.download import loopback


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short waits, and an environment that says nothing about caches, proxies or the network."""
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(locking, "_POLL_SECONDS", 0.01)
    for name in ("FCN_JAX_CACHE", "FCN_JAX_OFFLINE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with loopback.serving(loopback.CONTENT) as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"
