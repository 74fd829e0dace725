"""Names on the hub, downloads from a stand-in for it, and every way in which they fail."""

import logging
import os
from pathlib import Path

import pytest

from fcn_jax.errors import MissingPackageError, SettingError
from fcn_jax.weights.hub import HubError, HubName, client, fetch_from_hub, is_hub_name
from tests.weights.hub.conftest import connect

CONTENT = bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://user/repo", ("user/repo", None, None)),
        ("hf://user/repo@v1.0", ("user/repo", "v1.0", None)),
        ("hf://user/re-po.x/sub/a.pth", ("user/re-po.x", None, "sub/a.pth")),
        ("hf://user/repo@refs%2Fpr%2F1/a.pth", ("user/repo", "refs/pr/1", "a.pth")),
    ],
)
def test_names(text, parts):
    name = HubName.parse(text)
    assert tuple(name) == parts
    assert str(name) == text
    assert HubName.parse(Path(text)) == name  # pathlib makes one slash of two
    assert is_hub_name(text)
    assert is_hub_name(Path(text))


@pytest.mark.parametrize(
    "text", ["hf://", "hf://user", "hf://us er/repo", "hf://u/r@", "hf://u/r/../x", "https://u/r"]
)
def test_what_is_no_name(text):
    with pytest.raises(SettingError, match="expected a name as hf://user/repo"):
        HubName.parse(text)


def test_other_sources_are_no_names():
    assert not any(map(is_hub_name, ("a.pth", Path("hf/a.pth"), {"a": 1}, None, 3)))


def test_the_file_comes_once_and_is_used_without_a_network(hub, monkeypatch):
    hub.add("user/repo", {"model.safetensors": CONTENT, "README.md": b"# x"})
    path = fetch_from_hub("hf://user/repo")
    assert path.read_bytes() == CONTENT
    downloads = [request for request in hub.requests if request.startswith("GET /user")]
    assert fetch_from_hub("hf://user/repo/model.safetensors") == path
    assert [request for request in hub.requests if request.startswith("GET /user")] == downloads
    asked = len(hub.requests)
    assert fetch_from_hub("hf://user/repo", offline=True) == path
    monkeypatch.setenv("FCN_JAX_OFFLINE", "1")
    assert fetch_from_hub("hf://user/repo") == path
    assert len(hub.requests) == asked
    monkeypatch.delenv("FCN_JAX_OFFLINE")
    hub.shutdown()
    hub.server_close()
    assert fetch_from_hub("hf://user/repo") == path  # nobody answers any more


def test_revisions(hub):
    repository = hub.add("user/repo", {"model.safetensors": b"old"})
    old = repository.branches["main"]
    repository.commit({"model.safetensors": b"new"})
    repository.branches["v1"] = old
    assert fetch_from_hub("hf://user/repo").read_bytes() == b"new"
    assert fetch_from_hub(f"hf://user/repo@{old}").read_bytes() == b"old"
    assert fetch_from_hub("hf://user/repo@v1/model.safetensors").read_bytes() == b"old"


def test_the_only_file_of_weights_is_found(hub):
    hub.add("user/repo", {"config.json": b"{}", "old/fcn.pth": CONTENT})
    assert fetch_from_hub("hf://user/repo").read_bytes() == CONTENT
    assert fetch_from_hub("hf://user/repo", offline=True).read_bytes() == CONTENT
    hub.add("user/two", {"fcn.pth": b"other", "model.safetensors": CONTENT})
    assert fetch_from_hub("hf://user/two").read_bytes() == CONTENT  # the name that `push_to_hub` gives


@pytest.mark.parametrize("name", ["model.safetensors", "fcn.pth"])  # named by SHA-256 and by Git's SHA-1
def test_a_damaged_file_is_downloaded_again(hub, caplog, name):
    hub.add("user/repo", {name: CONTENT})
    path = fetch_from_hub("hf://user/repo")
    Path(os.path.realpath(path)).write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(HubError, match="is damaged"):
        fetch_from_hub("hf://user/repo", offline=True)
    with caplog.at_level(logging.WARNING):
        assert fetch_from_hub("hf://user/repo").read_bytes() == CONTENT
    assert "is damaged" in caplog.text


def message(name, **settings):
    with pytest.raises(HubError) as raised:
        fetch_from_hub(name, **settings)
    text = str(raised.value)
    assert text.startswith(name.partition("@")[0])
    assert "\n  what to do: " in text
    return text


def test_one_message_for_each_mistake(hub):
    hub.add("user/private", {"model.safetensors": CONTENT}, private=True)
    hub.add("user/gated", {"model.safetensors": CONTENT}, gated=True)
    hub.add("user/text", {"README.md": b"", "config.json": b""})
    hub.add("user/many", {"a.pth": b"", "b.pth": b""})
    hub.add("user/repo", {"model.safetensors": CONTENT})
    assert "no such repository" in message("hf://user/nothing")
    assert "hf auth login" in message("hf://user/nothing/model.safetensors")
    assert "hf auth login" in message("hf://user/private")
    assert "grants access one by one" in message("hf://user/gated")
    assert "no revision 'v9'" in message("hf://user/repo@v9")
    assert "no such file" in message("hf://user/repo/other.pth")
    text = message("hf://user/text")
    assert "no file of weights" in text
    assert "config.json" in text
    assert "name one, as hf://user/many/a.pth" in message("hf://user/many")
    assert "hf download user/repo" in message("hf://user/repo", offline=True)  # nothing in the cache


def test_no_network(monkeypatch, tmp_path):
    connect(monkeypatch, tmp_path, "http://127.0.0.1:9")  # the port that discards
    for name in ("hf://user/repo", "hf://user/repo/model.safetensors"):
        assert "the hub cannot be asked" in message(name)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'fcn_jax\[hub\]'"):
        client.client()
