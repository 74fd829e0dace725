"""fcn-jax segment: computing and writing at the same time, its failures, signals and progress."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcn_jax
from fcn_jax.cli import progress
from fcn_jax.cli.segmenting import summary, writing
from fcn_jax.inference import Segmentation, Segmenter
from tests.cli.written import files, read, sources
from tests.sources import ROOT


def test_a_failed_write_is_an_error_of_its_picture(segment, draw, monkeypatch):
    draw("a.png", "b.png", "c.png")
    overlay = Segmentation.overlay

    def full(self):
        if self.source.name == "b.png":
            raise OSError(28, "No space left on device")
        return overlay(self)

    monkeypatch.setattr(Segmentation, "overlay", full)
    status, _, err = segment("a.png", "b.png", "c.png", write="labels,overlay")
    assert status == 1
    assert err == f"fcn-jax: error: b.png: {os.path.join('out', 'b_overlay.png')}: No space left on device\n"
    assert sources() == ["a.png", "c.png"]
    (failed,) = read()["failed"]
    assert failed["files"] == [os.path.join("out", "b_labels.png")]  # whole, and known to be of b.png
    kinds = [f"{stem}_{kind}.png" for stem in "ac" for kind in ("labels", "overlay")]
    assert files() == sorted([*kinds, "b_labels.png", "summary.json"])
    draw("in/b.png")
    segment("in/b.png")
    assert "b-2_labels.png" in files()


def test_a_bug_while_writing_ends_the_command(segment, draw, capsys, monkeypatch, checkpoint):
    draw("a.png")
    monkeypatch.setattr(Segmentation, "overlay", lambda self: 1 / 0)
    arguments = ["segment", "a.png", "--weights", str(checkpoint), "--resize", "64", "--output", "out"]
    assert fcn_jax.cli.main(arguments) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_writing_overlaps_and_stays_in_order(segment, draw, monkeypatch):
    """The first picture's file waits for the second's, which only another thread can write meanwhile."""
    draw("a.png", "b.png", "c.png")
    monkeypatch.setattr(writing, "WRITERS", 2)
    save, second = Segmentation.save, threading.Event()

    def slow(self, *arguments, **options):
        if self.source.name == "a.png":
            assert second.wait(20)
        written = save(self, *arguments, **options)
        second.set()
        return written

    monkeypatch.setattr(Segmentation, "save", slow)
    status, out, _ = segment("a.png", "b.png", "c.png")
    assert status == 0
    assert re.findall(r"^(\w)\.png", out, re.MULTILINE) == ["a", "b", "c"]
    assert sources() == ["a.png", "b.png", "c.png"]


def test_few_results_wait(segment, draw, monkeypatch):
    """No more than the bounds allow, whatever the writers' pace."""
    names = [f"{number}.png" for number in range(7)]
    draw(*names)
    for bound, most in (("MOST_WAITING", 2), ("MOST_PIXELS", 60 * 48)):
        with monkeypatch.context() as patch:
            patch.setattr(writing, bound, most)
            seen = count_results(patch)
            assert segment(*names).status == 0
            assert max(seen) <= (2 if bound == "MOST_WAITING" else 1)
            assert len(seen) == 7


def count_results(patch):
    """Counts results that are waiting to be written, whenever one is put."""
    waiting, seen, lock = [0], [], threading.Lock()
    submit, save = writing.ThreadPoolExecutor.submit, Segmentation.save

    def counted(self, function, *arguments):
        if "writer" in self._thread_name_prefix:
            with lock:
                waiting[0] += 1
                seen.append(waiting[0])
        return submit(self, function, *arguments)

    def saved(self, *arguments, **options):
        time.sleep(0.1)  # longer than computing takes, so that results come faster than they are written
        paths = save(self, *arguments, **options)
        with lock:
            waiting[0] -= 1
        return paths

    patch.setattr(writing.ThreadPoolExecutor, "submit", counted)
    patch.setattr(Segmentation, "save", saved)
    return seen


def test_nobody_reads_the_tables_any_more():
    """`fcn-jax segment ... | head -1`: the command ends as others do, and rich does not end it silently."""

    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    console = progress.plain_console()
    console.file = Closed()
    with pytest.raises(BrokenPipeError):
        console.print("a table")


def test_lines_tell_of_progress_now_and_then(capsys):
    clock = iter([0, *range(1, 101)])
    with progress.progress_on(progress.plain_console()) as bar:
        pictures = progress.PictureProgress(bar, 100, clock=lambda: next(clock))
        for _ in range(100):
            pictures.advance()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "fcn-jax: 30 of 100 pictures, 1 a second, about 70 s left",
        "fcn-jax: 60 of 100 pictures, 1 a second, about 40 s left",
        "fcn-jax: 90 of 100 pictures, 1 a second, about 10 s left",
    ]


def test_the_summary_is_written_now_and_then(segment, draw, monkeypatch):
    """So a process that is killed loses little."""
    draw("a.png", "b.png")
    monkeypatch.setattr(summary, "SECONDS_BETWEEN_WRITES", 0)
    written = []
    monkeypatch.setattr(summary.Summary, "write", lambda self: written.append(len(self._done)))
    segment("a.png", "b.png")
    assert written == [1, 2, 2]


# Sends itself a signal while the second picture is being written.
STOPPED = """
import os, signal, sys, threading, time
from fcn_jax.cli import main
from fcn_jax.inference import Segmentation
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests may have it ignored
save = Segmentation.save

def slow(self, *arguments, **options):
    if self.source.name == "b.png":
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(0.3)
    return save(self, *arguments, **options)

Segmentation.save = slow
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "fcn-jax: interrupted\n"), (signal.SIGTERM, 143, "fcn-jax: ended by SIGTERM\n")],
)
def test_a_signal_leaves_a_true_summary_and_whole_files(
    checkpoint, draw, tmp_path, monkeypatch, number, status, said
):
    draw(*(f"in/{letter}.png" for letter in "abcdefghijklmnopqrst"))
    options = ["in", "--weights", checkpoint, "--resize", "64", "--output", "out"]
    command = [sys.executable, "-c", STOPPED, str(int(number)), "segment", *map(str, options)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (status, said)
    monkeypatch.chdir(tmp_path)
    listed = [
        Path(file).relative_to("out").as_posix() for entry in read()["images"] for file in entry["files"]
    ]
    assert sorted([*listed, "summary.json"]) == files()
    assert {"a_labels.png", "b_figure.png"} <= set(listed)
    assert len(read()["images"]) < 20
    for file in listed:
        with Image.open(Path("out", file)) as image:
            image.load()


def test_a_stream_that_cannot_tell_whose_failure_it_is_loses_no_picture(
    segment, draw, monkeypatch, segmenter
):
    """A full memory while reading ahead: the pictures begun are done one by one, then the stream goes on."""
    names = [f"{number}.png" for number in range(9)]
    draw(*names)
    stream, calls = Segmenter.stream, []

    def failing(self, sources, on_error):
        calls.append(None)
        for number, result in enumerate(stream(self, sources, on_error=on_error)):
            if len(calls) < 3 and number == 1:
                raise MemoryError
            yield result

    monkeypatch.setattr(Segmenter, "stream", failing)
    assert segment(*names).status == 0
    assert sources() == names
    assert len(calls) > 1
    for name in names:
        with Image.open(Path("out", name.replace(".png", "_labels.png"))) as labels:
            np.testing.assert_array_equal(np.asarray(labels), segmenter(name).labels)
