"""fcn-jax segment over folders, several times and in shards: what is done, skipped and kept."""

import contextlib
import io
import json
import os
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_jax.cli.segmenting import summary
from fcn_jax.cli.segmenting.chosen_segmenter import class_indices
from fcn_jax.inference import Segmentation
from tests.cli.written import files, read, sources
from weights_converter import load_model_file, write_safetensors


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
    """All else that the file says is the same."""
    conversion = load_model_file(checkpoint)
    changed = {name: array * np.float32(1.01) for name, array in conversion.params.items()}
    write_safetensors("trained.safetensors", changed, conversion.metadata)
    segment("a.png", "--skip-done", "--weights", "trained.safetensors")


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


def test_files_of_unknown_pictures_are_not_replaced_in_silence(segment, draw):
    draw("a.png")
    draw("b.png")
    assert segment("a.png", "b.png").err == ""
    assert segment("a.png", "b.png").err == ""  # the summary knows them
    Path("out/summary.json").unlink()
    warning = "fcn-jax: replacing 1 files in out/, such as a_labels.png; no summary there says which"
    assert segment("a.png").err.startswith(warning)


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


def test_two_runs_at_the_same_time_lose_nothing(tmp_path, monkeypatch):
    """Each merges into what is there. If both could read before one writes, they would meet here."""
    both = [summary.Summary(tmp_path), summary.Summary(tmp_path)]
    meeting, read_one = threading.Barrier(2), summary.read

    def read_slowly(file):
        content = read_one(file)
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.2)
        return content

    monkeypatch.setattr(summary, "read", read_slowly)
    for number, each in enumerate(both):
        each.set_facts({"weights_sha256": str(number)})
        each.add(
            {"source": f"{number}", "path": f"/{number}", "stem": f"{number}", "files": [], "modified": 1}
        )
    threads = [threading.Thread(target=each.write) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(summary.Summary(tmp_path).earlier) == ["/0", "/1"]


def test_a_picture_from_standard_input(segment, draw, monkeypatch):
    draw("a.png")
    content = Path("a.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    status, _, err = segment("-", "a.png")
    assert (status, err) == (0, "")
    assert sources() == ["-", "a.png"]
    assert files() == ["a_labels.png", "stdin_labels.png", "summary.json"]
    assert Path("out/stdin_labels.png").read_bytes() == Path("out/a_labels.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no picture")))
    status, _, err = segment("-")
    assert status == 1
    assert "fcn-jax: error: -: expected an image file, got a file that Pillow" in err


def test_names_never_reach_the_terminal_raw(segment, draw):
    draw("a\x1b[31m.png")
    Path("b\x1b]0;x\x07.png").write_text("no picture")
    status, out, err = segment(".")
    assert status == 1
    assert "\x1b" not in out + err
    assert "a\\x1b[31m.png (60 x 48)" in out
    assert "b\\x1b]0;x\\x07.png: expected an image file" in err


def test_nobody_reads_the_tables(segment, draw, monkeypatch):
    """`fcn-jax segment ... | head -1`: every picture is done, and one line says why the tables end."""
    draw("a.png", "b.png", "c.png")
    printed = []

    def broken(self, *objects):
        printed.append(objects)
        raise BrokenPipeError

    monkeypatch.setattr("fcn_jax.cli.progress._PlainConsole.print", broken)
    monkeypatch.setattr("fcn_jax.cli.segmenting.report.drop_output", lambda: None)
    status, _, err = segment(".")
    assert (status, len(sources())) == (0, 3)
    assert err.count("nobody reads standard output any more; the work goes on") == 1
    assert len(printed) == 1


def test_bands(segment):
    tifffile = pytest.importorskip("tifffile")
    seven = np.random.default_rng(0).integers(0, 256, (40, 50, 7), np.uint8)
    tifffile.imwrite("a.tif", seven, photometric="minisblack", planarconfig="contig")
    Image.fromarray(seven[..., [3, 2, 0]]).save("b.png")
    status, _, err = segment("a.tif")
    assert status == 1
    assert "7 bands of uint8, which names none; choose three with --bands, as 3,2,1" in err
    assert segment("a.tif", "--bands", "4,3,1").status == 0
    assert read()["bands"] == [4, 3, 1]
    segment("b.png")
    assert Path("out/a_labels.png").read_bytes() == Path("out/b_labels.png").read_bytes()
    assert "--bands: expected numbers of bands from 1" in segment("a.tif", "--bands", "4,x").err


def test_commas_in_names_of_classes():
    names = ("wall", "table, wood", "wood", "a,b,c")
    assert class_indices("table, wood, wall", names) == [1, 0]
    assert class_indices("a,b,c,wood", names) == [3, 2]
    assert class_indices("wall,wood", names) == [0, 2]
