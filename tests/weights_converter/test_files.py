"""Files that appear whole or not at all, and what killed processes leave."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from weights_converter.files import remove_leftovers, replacing

KILLED = """
import os, sys
from weights_converter.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os._exit(1)
"""


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_all_is_as_before(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_file(tmp_path):
    """Not the temporary one, and also where the system names none."""
    target = tmp_path / "b.txt"
    with pytest.raises(OSError, match="No space left") as error, replacing(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(target)
    with pytest.raises(PermissionError) as error, replacing(target) as temporary:
        raise PermissionError(errno.EACCES, "Permission denied", str(temporary))
    assert error.value.filename == str(target)
    with pytest.raises(PermissionError) as error, replacing(target):
        raise PermissionError(errno.EACCES, "Permission denied", "another")
    assert error.value.filename == "another"
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "no" / "b.txt"):
        pass
    assert error.value.filename == str(tmp_path / "no" / "b.txt")


def test_long_names_are_no_problem(tmp_path):
    path = tmp_path / ("\u00e4" * 120 + ".txt")  # 244 bytes
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_permissions_are_those_of_any_new_file_and_nothing_of_the_process_changes(tmp_path, monkeypatch):
    def refuse(mask):
        raise AssertionError("the umask belongs to the whole process")

    (tmp_path / "plain").touch()
    monkeypatch.setattr(os, "umask", refuse)
    with replacing(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "last.safetensors"], check=False)
    (leftover,) = tmp_path.iterdir()
    others = [tmp_path / name for name in ("a.txt", ".last.partial", ".hidden.txt")]
    for other in others:
        other.touch()
    with replacing(tmp_path / "last.safetensors") as temporary:
        assert remove_leftovers(tmp_path) == [leftover]
        assert temporary.exists()
    assert remove_leftovers(tmp_path) == []
    assert set(tmp_path.iterdir()) == {*others, tmp_path / "last.safetensors"}


def test_no_file_is_removed_under_its_writers_hands(tmp_path):
    stop = threading.Event()

    def clean():
        while not stop.is_set():
            remove_leftovers(tmp_path)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for number in range(100):
            with replacing(tmp_path / "a.txt") as temporary:
                temporary.write_text(str(number))
            assert (tmp_path / "a.txt").read_text() == str(number)
    finally:
        stop.set()
        cleaner.join()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
