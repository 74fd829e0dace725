"""fcn-jax segment over folders, several times, in shards and interrupted: what is done, skipped and kept."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcn_jax
from fcn_jax.cli import progress, summary, writing
from fcn_jax.inference import Segmentation, Segmenter
from tests.sources import ROOT


@pytest.fixture
def segment(cli, checkpoint, tmp_path, monkeypatch):
    """Calls the command quickly, in an empty folder; gives (status, out, err)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, write="labels"):
        options = ["--weights", checkpoint] if "--weights" not in arguments else []
        options += ["--resize", 64] if "--resize" not in arguments else []
        options += ["--write", write] if write else []
        return cli("segment", *arguments, *options, "--output", "out")

    return call


@pytest.fixture
def draw(picture, tmp_path):
    """Writes pictures: draw("a.png", "x/b.png"), each another one."""

    def draw(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            picture(seed=sum(map(ord, name))).save(tmp_path / name)

    return draw


def read(name="summary.json"):
    return json.loads(Path("out", name).read_text(encoding="utf-8"))


def sources(name="summary.json"):
    return [entry["source"] for entry in read(name)["images"]]


def files(folder="out"):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


@pytest.fixture
def computed(monkeypatch):
    """The names of the pictures that are saved."""
    save, names = Segmentation.save, []

    def noted(self, *arguments, **options):
        names.append(self.source.as_posix())
        return save(self, *arguments, **options)

    monkeypatch.setattr(Segmentation, "save", noted)
    return names


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ([], ["figure", "labels", "overlay"]),
        (["--classes", "1"], ["class_1", "figure", "labels", "overlay"]),
        (["--classes", "1", "--write", "overlay, heatmap"], ["class_1", "overlay"]),
        (["--classes", "1", "--write", "labels"], ["labels"]),
    ],
)
def test_what_is_written(segment, draw, options, kinds):
    draw("a.png")
    assert segment("a.png", *options, write=None).status == 0
    assert files() == [*(f"a_{kind}.png" for kind in kinds), "summary.json"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["a.png", "--write", "label"],
            "--write: expected some of labels, overlay, figure, heatmap, got 'label'",
        ),
        (
            ["a.png", "--write", ","],
            "--write: expected some of labels, overlay, figure, heatmap, got nothing",
        ),
        (
            ["a.png", "--write", "heatmap"],
            "--write: a heatmap shows .*; name the classes with --classes, or leave",
        ),
        (["a.png", "--shard", "3/2"], "--shard: expected I/N with I from 1 to N"),
        (["--list", "no.txt"], "no.txt: No such file or directory"),
    ],
)
def test_mistakes_come_before_any_work(segment, draw, arguments, said):
    draw("a.png")
    status, out, err = segment(*arguments, write=None)
    assert (status, out) == (1, "")
    assert re.match(f"fcn-jax: error: {said}", err)
    assert not Path("out").exists()


def test_nothing_named(cli):
    status, _, err = cli("segment", "--quiet")
    assert status == 2
    assert err.endswith("error: name pictures or folders, or a --list of them\n")


def test_recursive_output_has_the_same_folders(segment, draw):
    draw("in/a.png", "in/x/a.png", "in/x/a.bmp", "in/x/y/b.png")
    assert segment("in", "--recursive", "--quiet") == (0, f"4 of 4 segmented, into out{os.sep}\n", "")
    names = ["a_labels.png", "summary.json", "x/a-2_labels.png", "x/a_labels.png", "x/y/b_labels.png"]
    assert files() == names
    status, out, _ = segment(".", "--recursive", "--skip-done")  # what is in out/ is no picture to segment
    assert (status, out) == (0, f"0 of 4 segmented, 4 done before, into out{os.sep}\n")


def test_a_list_and_pictures_together(segment, draw):
    draw("a.png", "b.png", "in/c.png")
    Path("list.txt").write_text("b.png\n\nin\na.png\n")
    status, out, _ = segment("a.png", "--list", "list.txt")
    assert status == 0
    assert re.findall(r"^(\S+) \(60 x 48\)$", out, re.MULTILINE) == [
        "a.png",
        "b.png",
        os.path.join("in", "c.png"),
    ]


def test_done_pictures_are_skipped(segment, draw, computed):
    draw("in/a.png", "in/b.png")
    segment("in")
    draw("in/c.png")
    status, out, _ = segment("in", "--skip-done")
    assert status == 0
    assert out.endswith(f"1 of 3 segmented, 2 done before, into out{os.sep}\n")
    assert computed == ["in/a.png", "in/b.png", "in/c.png"]
    assert [Path(source).name for source in sources()] == ["a.png", "b.png", "c.png"]


def change_settings(segment, checkpoint):
    segment("a.png", "--skip-done", "--resize", 48)


def change_weights(segment, checkpoint):
    """Other weights of the same name: trained on."""
    model = fcn_jax.load_model(checkpoint)
    Path("weights").mkdir()
    fcn_jax.save_weights(model, f"weights/{checkpoint.name}", categories=["a", "b", "c", "d", "e"])
    segment("a.png", "--skip-done", "--weights", f"weights/{checkpoint.name}")


def change_picture(segment, checkpoint):
    os.utime("a.png", ns=(0, 0))
    segment("a.png", "--skip-done")


def remove_file(segment, checkpoint):
    Path("out", "a_labels.png").unlink()
    segment("a.png", "--skip-done")


def ask_for_more(segment, checkpoint):
    segment("a.png", "--skip-done", write="labels,overlay")


def forget(segment, checkpoint):
    Path("out", "summary.json").unlink()
    segment("a.png", "--skip-done")


@pytest.mark.parametrize(
    "change", [change_settings, change_weights, change_picture, remove_file, ask_for_more, forget]
)
def test_what_differs_is_done_again(segment, draw, computed, checkpoint, change):
    draw("a.png")
    segment("a.png")
    segment("a.png", "--skip-done")
    assert len(computed) == 1
    change(segment, checkpoint)
    assert len(computed) == 2
    assert sources() == ["a.png"]


def test_the_same_weights_elsewhere_are_the_same(segment, draw, computed, checkpoint):
    draw("a.png")
    segment("a.png")
    Path("copy.safetensors").write_bytes(checkpoint.read_bytes())
    segment("a.png", "--skip-done", "--weights", "copy.safetensors")
    assert len(computed) == 1


def test_the_class_that_a_figure_shows_counts(segment, draw, computed):
    draw("a.png")
    for classes, times in (("1", 1), ("1,2", 1), ("2", 2), ("", 3)):
        segment("a.png", "--skip-done", "--classes", classes, write="figure")
        assert len(computed) == times


def test_files_of_two_runs_with_the_same_settings_add_up(segment, draw, computed):
    draw("a.png")
    segment("a.png", write="labels")
    segment("a.png", write="overlay")
    segment("a.png", "--skip-done", write="labels,overlay")
    assert len(computed) == 2
    segment("a.png", "--resize", 48, write="overlay")
    assert [Path(file).name for file in read()["images"][0]["files"]] == [
        "a_overlay.png"
    ]  # not the stale labels


def test_a_summary_tells_of_earlier_runs(segment, draw):
    draw("a.png", "b.png")
    Path("d.png").write_text("no picture")
    segment("a.png", "b.png", "d.png")
    first = read()
    segment("b.png", "--resize", 48)
    second = read()
    assert sources() == ["a.png", "b.png"]
    assert [entry["source"] for entry in second["failed"]] == ["d.png"]
    assert second["images"][0] == first["images"][0]
    facts = second["other_settings"][second["images"][0]["settings"]]
    assert facts["transforms"] == first["transforms"]
    assert second["images"][1]["settings"] == second["settings"] != first["settings"]
    segment("a.png", "--resize", 48)
    assert read()["other_settings"] == {}
    draw("d.png")
    segment("d.png")
    assert (sources(), read()["failed"]) == (["a.png", "b.png", "d.png"], [])


def test_masks_of_another_picture_are_never_replaced(segment, draw):
    """And every picture keeps its names: also seen from another folder."""
    draw("one/x.png", "two/x.png")
    segment("one/x.png")
    before = Path("out", "x_labels.png").read_bytes()
    segment("two/x.png")
    assert files() == ["summary.json", "x-2_labels.png", "x_labels.png"]
    assert Path("out", "x_labels.png").read_bytes() == before
    os.chdir("two")
    Path("out").symlink_to("../out")
    segment("x.png", "../one/x.png")
    os.chdir("..")
    assert files() == ["summary.json", "x-2_labels.png", "x_labels.png"]
    assert Path("out", "x_labels.png").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"images": [1], "failed": []}',
        '{"images": 3}',
        '{"images": [{"source": "a", "stem": "../a"}], "failed": []}',
    ],
)
def test_a_file_that_is_no_summary(segment, draw, content):
    draw("a.png")
    Path("out").mkdir()
    Path("out", "summary.json").write_text(content)
    status, _, err = segment("a.png")
    assert status == 1
    assert "summary.json: expected the summary of an earlier run" in err
    assert err.endswith("move it away or choose another folder with --output\n")
    assert Path("out", "summary.json").read_text() == content
    assert files() == ["summary.json"]


def test_a_summary_of_an_older_version(segment, draw):
    draw("a.png", "in/a.png")
    segment("a.png")
    old = read()
    for name in ("settings", "other_settings", "weights_sha256"):
        del old[name]
    for name in ("path", "stem", "settings", "modified", "written"):
        del old["images"][0][name]
    Path("out", "summary.json").write_text(json.dumps(old))
    segment("in/a.png")
    assert files() == ["a-2_labels.png", "a_labels.png", "summary.json"]
    assert sources() == ["a.png", os.path.join("in", "a.png")]
    assert read()["images"][0]["settings"] in read()["other_settings"]


def test_shards_share_the_pictures_and_keep_a_summary_each(segment, draw, computed):
    names = [f"in/{number}/x.png" for number in range(6)]
    draw(*names)
    for number in (1, 2, 3):
        Path("list.txt").write_text("\n".join(names))
        assert segment("--list", "list.txt", "--shard", f"{number}/3").status == 0
    assert sorted(computed) == sorted(names)
    stems = ["x", *(f"x-{number}" for number in range(2, 7))]
    summaries = [f"summary-{number}-of-3.json" for number in (1, 2, 3)]
    assert files() == sorted([*(f"{stem}_labels.png" for stem in stems), *summaries])
    entries = [entry for name in summaries for entry in read(name)["images"]]
    assert {Path(entry["source"]).as_posix(): entry["stem"] for entry in entries} == dict(
        zip(names, stems, strict=True)
    )
    assert segment(*names, "--skip-done").out.startswith("0 of 6 segmented, 6 done before")
    assert sources() == []


def test_two_runs_at_the_same_time_lose_nothing(tmp_path):
    """Both read the summary at their start; each merges into what is there when it writes."""
    both = [summary.Summary(tmp_path), summary.Summary(tmp_path)]
    for number, each in enumerate(both):
        each.set_facts({"weights_sha256": str(number)})
        each.add(
            {"source": f"{number}", "path": f"/{number}", "stem": f"{number}", "files": [], "modified": 1}
        )

    def write(each):
        for _ in range(20):
            each.write()

    threads = [threading.Thread(target=write, args=[each]) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(summary.Summary(tmp_path).earlier) == ["/0", "/1"]


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
        paths = save(self, *arguments, **options)
        with lock:
            waiting[0] -= 1
        return paths

    patch.setattr(writing.ThreadPoolExecutor, "submit", counted)
    patch.setattr(Segmentation, "save", saved)
    return seen


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
