"""A stand-in for the hub, and an environment that knows no other."""

import time

import pytest

from tests.weights.hub import stand_in


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Serves an empty hub on this machine; the client asks only it, without a token, with an empty cache."""
    with stand_in.serving() as server:
        connect(monkeypatch, tmp_path, server.address)
        yield server


def connect(monkeypatch, folder, address):
    """Lets huggingface_hub ask only this address, and keep its files in this folder."""
    constants = pytest.importorskip("huggingface_hub.constants")
    hf_api = pytest.importorskip("huggingface_hub.hf_api")
    http = pytest.importorskip("huggingface_hub.utils._http")
    for name in ("FCN_JAX_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(http, "time", Quick())  # between attempts
    monkeypatch.setattr(hf_api.api, "endpoint", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(folder / "tokens"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Quick:
    """The module `time`, but it does not wait."""

    def __getattr__(self, name):
        return getattr(time, name)

    def sleep(self, seconds):
        pass
