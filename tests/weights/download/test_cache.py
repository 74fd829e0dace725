"""The cache: other processes, the disk's troubles, no network, and where it lies."""

import builtins
import io
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import fcn_jax
from fcn_jax import locking
from fcn_jax.weights import FCN_ResNet50_Weights, WeightsDownloadError, fetch
from fcn_jax.weights.download import cache
from tests.weights.download import loopback
from tests.weights.download.loopback import CONTENT, final, get, part

# Other processes

CALL = """
import sys
from fcn_jax.weights import fetch
print(fetch(sys.argv[1], progress=False, cache_dir=sys.argv[2]))
"""


def start(server, folder) -> subprocess.Popen:
    return run(CALL, server.weights().url, folder)


def run(program, *arguments) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(fcn_jax.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_of_two_processes_one_downloads(server, folder):
    server.script += [loopback.drip(10, pause=0.1)]
    with start(server, folder) as one, start(server, folder) as other:
        answers = [process.communicate(timeout=60) for process in (one, other)]
    assert answers == [(f"{final(server, folder)}\n", "")] * 2
    assert final(server, folder).read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_of_many_threads_one_downloads(server, folder):
    server.script += [loopback.drip(4, pause=0.05)]
    threads = [threading.Thread(target=get, args=(server, folder)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert final(server, folder).read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_a_killed_process_blocks_nobody_and_its_bytes_are_used(server, folder):
    server.script += [loopback.stall(120_000)]
    kept = folder / (server.weights().file_name + ".part")
    with start(server, folder) as process:
        deadline = time.monotonic() + 60
        while not (kept.exists() and kept.stat().st_size >= 100_000) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    size = kept.stat().st_size
    assert get(server, folder).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={size}-"]
    assert server.sent[1] == len(CONTENT) - size


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only a forked child inherits a lock")
def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    program = """
import os, pathlib, signal, sys, time
from fcn_jax.locking import exclusive
lock = pathlib.Path(sys.argv[1])
with exclusive(lock, on_wait=print) as held:
    child = os.fork()
    if not child:
        time.sleep(20)
        os._exit(0)
def end_child():
    print("blocked")
    os.kill(child, signal.SIGKILL)
with exclusive(lock, on_wait=end_child) as held_again:
    print(held, held_again)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""
    with run(program, tmp_path / "lock") as process:
        assert process.communicate(timeout=60) == ("True True\n", "")


@pytest.mark.parametrize("steps", [[], [loopback.cut(1000), loopback.status(404)]])
def test_without_locks_each_download_has_a_file_of_its_own(server, folder, monkeypatch, steps):
    monkeypatch.setattr(locking, "_lock", lambda file: None)
    others = part(server, folder, b"someone else's")
    server.script += steps
    if steps:
        with pytest.raises(WeightsDownloadError):
            get(server, folder)
    else:
        assert get(server, folder).read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert others.read_bytes() == b"someone else's"
    assert list(folder.glob("*.part")) == [others]


# The disk


def test_a_damaged_cached_file_is_replaced_and_spoken_of(server, folder, caplog):
    get(server, folder).write_bytes(CONTENT[:-1] + b"!")
    assert get(server, folder).read_bytes() == CONTENT
    (said,) = caplog.records
    assert said.levelname == "WARNING"
    damaged = re.escape(str(final(server, folder)))
    assert re.fullmatch(f"{damaged} is damaged.*; downloading it again", said.getMessage())


def test_a_damaged_cached_file_stays_while_there_is_no_other(server, folder):
    get(server, folder).write_bytes(b"")
    server.script += [loopback.status(404)]
    with pytest.raises(WeightsDownloadError, match="404"):
        get(server, folder)
    assert final(server, folder).read_bytes() == b""


def test_a_file_in_the_folders_place(server, folder):
    folder.write_text("")
    with pytest.raises(WeightsDownloadError, match=re.escape(str(folder)) + "(.|\n)*FCN_JAX_CACHE"):
        get(server, folder)
    assert server.ranges == []


def test_a_folder_in_the_files_place(server, folder):
    final(server, folder).mkdir(parents=True)
    with pytest.raises(WeightsDownloadError, match=re.escape(str(final(server, folder)))):
        get(server, folder)


def refuse_writing(monkeypatch):
    """What a read-only file system says, which permissions cannot show to root."""
    opened = io.open

    def guarded(file, mode="r", *args, **kwargs):
        if set(mode) & set("wax+"):
            raise OSError(30, "Read-only file system", str(file))
        return opened(file, mode, *args, **kwargs)

    monkeypatch.setattr(io, "open", guarded)
    monkeypatch.setattr(builtins, "open", guarded)


def test_a_read_only_folder_that_holds_the_file_will_do(server, folder, monkeypatch):
    get(server, folder)
    (folder / (server.weights().file_name + ".lock")).unlink()
    refuse_writing(monkeypatch)
    assert get(server, folder).read_bytes() == CONTENT


def test_a_read_only_folder_without_the_file(server, folder, monkeypatch):
    folder.mkdir()
    refuse_writing(monkeypatch)
    with pytest.raises(WeightsDownloadError, match=r"Read-only file system.*FCN_JAX_CACHE"):
        get(server, folder)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() == 0, reason="permissions do not bind root")
@pytest.mark.skipif(sys.platform == "win32", reason="a folder's mode means nothing on Windows")
def test_a_folder_without_permission_to_write(server, folder):
    folder.mkdir(mode=0o500)
    with pytest.raises(WeightsDownloadError, match=r"Permission denied.*FCN_JAX_CACHE"):
        get(server, folder)


def test_too_little_room_is_noticed_before_the_bytes_come(server, folder, monkeypatch):
    kept = part(server, folder, CONTENT[:10])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 199_989))
    with pytest.raises(WeightsDownloadError, match=r"0\.2 MiB are still to come.*FCN_JAX_CACHE"):
        get(server, folder)
    assert kept.read_bytes() == CONTENT[:10]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 199_990))
    assert get(server, folder).read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_links_in_place_of_our_files_are_not_followed(server, folder, tmp_path):
    """Someone else may have put them there, where the folder is shared."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    left = part(server, folder, b"")
    left.unlink()
    left.symlink_to(precious)
    server.script += [loopback.fine]
    assert get(server, folder).read_bytes() == CONTENT
    assert precious.read_bytes() == b"mine"
    final(server, folder).unlink()
    lock = folder / (server.weights().file_name + ".lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "new")
    with pytest.raises(WeightsDownloadError, match="the cache folder cannot be used"):
        get(server, folder)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full disk to offer")
def test_a_disk_that_fills_up_on_the_way_is_an_error_at_once(server, folder):
    part(server, folder, b"").unlink()
    (folder / (server.weights().file_name + ".part")).symlink_to("/dev/full")
    server.script += [loopback.fine, loopback.fine]
    with pytest.raises(WeightsDownloadError, match="No space left on device"):
        get(server, folder)
    assert len(server.ranges) == 1
    assert not final(server, folder).exists()


def test_a_file_that_only_lacks_its_name_is_not_fetched_again(server, folder, monkeypatch):
    def fail(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(WeightsDownloadError, match="Input/output error"):
            get(server, folder)
    assert not final(server, folder).exists()
    assert get(server, folder).read_bytes() == CONTENT
    assert len(server.ranges) == 1


# Without a network


@pytest.mark.parametrize("how", ["argument", "1", "true", "YES"])
def test_offline_never_calls(server, folder, monkeypatch, how):
    if how != "argument":
        monkeypatch.setenv("FCN_JAX_OFFLINE", how)
    with pytest.raises(WeightsDownloadError, match=r"not in the cache.*FCN_JAX_OFFLINE"):
        get(server, folder, offline=True if how == "argument" else None)
    assert server.ranges == []
    folder.mkdir()
    final(server, folder).write_bytes(CONTENT)
    assert get(server, folder, offline=True if how == "argument" else None).read_bytes() == CONTENT
    assert server.ranges == []


@pytest.mark.parametrize(("said", "argument"), [("0", None), ("", None), ("no", None), ("1", False)])
def test_online_where_the_switch_says_so(server, folder, monkeypatch, said, argument):
    monkeypatch.setenv("FCN_JAX_OFFLINE", said)
    assert get(server, folder, offline=argument).read_bytes() == CONTENT


def test_offline_names_the_damaged_file(server, folder):
    get(server, folder).write_bytes(b"damaged")
    with pytest.raises(
        WeightsDownloadError, match=f"{re.escape(str(final(server, folder)))} is damaged.*expected"
    ):
        get(server, folder, offline=True)
    assert final(server, folder).read_bytes() == b"damaged"


def test_the_error_says_everything(folder):
    member = FCN_ResNet50_Weights.DEFAULT
    with pytest.raises(WeightsDownloadError) as caught:
        fetch(member, cache_dir=folder, offline=True)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"cannot get {member!r} ({member.file_name})"
    assert lines[1].strip() == f"from: {member.url}"
    assert str(folder / member.file_name) in [line.strip() for line in lines]
    assert lines[-1].strip() == "or anywhere, and pass its path as weights"
    assert caught.value.words({"weights": "--weights"}).endswith("pass its path as --weights")
    assert isinstance(caught.value, OSError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


# Where it lies


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"FCN_JAX_CACHE": "/c/here"}, "/c/here"),
        ("linux", {"FCN_JAX_CACHE": "~/here"}, "/home/u/here"),
        ("linux", {"FCN_JAX_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/fcn_jax"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/u/.cache/fcn_jax"),
        ("linux", {}, "/home/u/.cache/fcn_jax"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "/home/u/Library/Caches/fcn_jax"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/fcn_jax"),
    ],
)
def test_the_cache_folder(monkeypatch, platform, environment, expected):
    monkeypatch.setattr(cache.sys, "platform", platform)
    for name, value in {"HOME": "/home/u", "USERPROFILE": "/home/u", **environment}.items():
        monkeypatch.setenv(name, value)
    assert cache.cache_folder() == Path(expected)


def test_the_environment_chooses_the_folder(server, folder, monkeypatch):
    monkeypatch.setenv("FCN_JAX_CACHE", str(folder))
    assert get(server, None) == final(server, folder)
