"""scripts/benchmark_folder.py on a few tiny pictures: every side works, and all find the same labels."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_jax.transforms import SemanticSegmentation

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    """Imports one of the scripts."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module


def measure(output, *words):
    """Runs the benchmark for one round; gives the rows of its JSON by side, and what it printed."""
    command = [sys.executable, SCRIPTS / "benchmark_folder.py", *words, "--rounds", "1", "--output", output]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return {row["side"]: row for row in json.loads(output.read_text())["rows"]}, ended.stdout


def test_sizes_are_those_of_photos_and_the_same_in_every_run(script):
    inputs = script("benchmark_folder_inputs")
    sizes = inputs.draw_sizes(inputs.photo_size, 40, (480, 1000))
    assert len(set(sizes)) == 40
    assert sizes == inputs.draw_sizes(inputs.photo_size, 40, (480, 1000))
    assert all(480 <= max(size) <= 1000 and max(size) < 1.9 * min(size) for size in sizes)
    assert sum(height > width for width, height in sizes) > 10
    assert len({SemanticSegmentation().output_size(size) for size in sizes}) > 35  # each is new to the model


def test_too_few_sizes_are_an_error(script):
    inputs = script("benchmark_folder_inputs")
    with pytest.raises(ValueError, match=r"bounds that allow 5 sizes, got 7 to 8"):
        inputs.draw_sizes(inputs.free_size, 5, (7, 8))
    assert len(inputs.draw_sizes(inputs.free_size, 4, (7, 8))) == 4


def test_pictures_are_photos_in_turn_or_noise(script, tmp_path):
    inputs = script("benchmark_folder_inputs")
    photos, found = tmp_path / "photos", tmp_path / "found"
    for folder in (photos, found):
        folder.mkdir()
    for name, colour in (("a.jpg", "red"), ("b.png", "blue")):
        Image.new("RGB", (30, 20), colour).save(photos / name)
    (photos / "notes.txt").touch()
    inputs.write_pictures(found, [(24, 16), (16, 24), (40, 40)], inputs.find_photos(photos))
    pictures = [np.asarray(Image.open(path)) for path in sorted(found.iterdir())]
    assert [picture.shape for picture in pictures] == [(16, 24, 3), (24, 16, 3), (40, 40, 3)]
    assert [int(picture.mean((0, 1)).argmax()) for picture in pictures] == [0, 2, 0]
    assert inputs.smooth_noise(1, (50, 40)).size == (50, 40)
    with pytest.raises(ValueError, match="expected a folder with JPEG or PNG files"):
        inputs.find_photos(found / "nowhere")


@pytest.mark.parametrize("size", [(61, 40), (40, 61), (33, 33)])
def test_the_preset_without_a_framework_is_the_preset(script, size):
    image = script("benchmark_folder_inputs").smooth_noise(0, size)
    ours = script("benchmark_folder_sides").prepared(image, 24)
    expected = SemanticSegmentation(resize_size=24)(image).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def facts(seconds, labels):
    """What a worker tells of a run."""
    one_pass = {"seconds": seconds, "early": 2, "memory_early": 2**20, "memory": 2**21}
    return {
        "loading": {"seconds": 1.0},
        "first": one_pass,
        "second": one_pass,
        "labels": dict.fromkeys(("first", "second"), str(labels)),
    }


def test_ratios_are_taken_in_each_round(script, tmp_path):
    table = script("benchmark_folder_table")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(bytes([1, 2, 3, 4]))
    theirs.write_bytes(bytes([1, 2, 3, 5]))
    found = {
        "fcn_jax": [facts(seconds, ours) for seconds in (2.0, 9.0)],
        "torch eager": [facts(seconds, theirs) for seconds in (4.0, 3.0)],
    }
    rows = table.summarize(found)
    assert rows[0]["first_ratio"] == [0.5, 3.0]
    assert rows[0]["labels_equal"] == [0.75, 0.75]
    text = table.table(rows)
    assert "1.75 (1.12 to 2.38)" in text
    assert "memory 1 MiB after 2 pictures, 2 MiB after the first pass" in text


def test_a_side_that_fails_is_left_out(script, tmp_path, monkeypatch, capsys):
    folder = script("benchmark_folder")
    caches = []

    def run_side(side, task, folder, cache):
        if side == "torch eager":
            raise RuntimeError("Traceback\nno memory")
        caches.append((side, cache.name))
        return side

    monkeypatch.setattr(folder, "run_side", run_side)
    found = folder.take_turns(["fcn_jax", "fcn_jax again", "torch eager"], {}, tmp_path, rounds=2)
    assert found == {"fcn_jax": ["fcn_jax"] * 2, "fcn_jax again": ["fcn_jax again"] * 2}
    # The second round starts with another side, which finds the cache of the first.
    filled = [("fcn_jax", "cache0"), ("fcn_jax again", "cache0")]
    assert caches == [*filled, ("fcn_jax again", "cache0"), ("fcn_jax", "cache1")]
    assert "torch eager left out: no memory" in capsys.readouterr().out


@pytest.mark.slow
def test_the_next_process_finds_every_program_in_the_cache(tmp_path):
    words = ("--model", "demo", "--count", "3", "--edges", "20", "40")
    rows, out = measure(tmp_path / "demo.json", *words)
    assert list(rows) == ["fcn_jax", "fcn_jax again"]
    for side, row in rows.items():
        phases = row["last"].values()
        compiled, cached = (sum(phase[key] for phase in phases) for key in ("compilations", "cached"))
        assert compiled > 0
        assert cached == (compiled if side == "fcn_jax again" else 0)
        assert row["last"]["second"]["compilations"] == 0
        assert 1 <= row["last"]["second"]["programs"] <= 3
        assert row["labels_equal"] == [1.0, 1.0]
    assert "programs kept" in out


@pytest.mark.slow
def test_every_side_finds_the_same_labels(tmp_path):
    pytest.importorskip("torch")
    sides = ("fcn_jax", "torch eager", "onnxruntime")
    words = ("--count", "2", "--edges", "40", "60", "--resize", "32", "--sides", *sides)
    rows, out = measure(tmp_path / "folder.json", *words)
    missing = [side for side in sides if f"{side} left out: it needs" in out]
    assert set(missing) <= {"onnxruntime"}
    assert list(rows) == [side for side in sides if side not in missing]
    assert rows["fcn_jax"]["base"] == "torch eager"
    for row in rows.values():
        assert min(row["labels_equal"]) > 0.999
