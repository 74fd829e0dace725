"""scripts/train.py as a person runs it: killed, stopped, gone on with; and what it says of mistakes."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_jax.evaluation import Evaluator
from fcn_jax.training.reports.records import read_records
from weights_converter import read_safetensors

ROOT = Path(__file__).parents[2]
SMALL = {
    "dataset": "scenes",
    "model": "fcn8s_vgg16",
    "features": "2 3 4 5 6",
    "fc-features": 8,
    "batch-size": 2,
    "crop-size": "33 47",
    "steps": 24,
    "checkpoint-every": 3,
    "eval-every": 8,
    "eval-limit": 2,
    "lr": 1e-3,
}


def words(settings):
    return [word for name, value in settings.items() for word in (f"--{name}", *str(value).split())]


def start(output, cache, *arguments):
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, ROOT / "scripts" / "train.py", *words(SMALL), "--output", output, *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def finish(process):
    try:
        out, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, out


def stop_after(process, records_file, count, number):
    """Sends a signal once the log has so many lines, or the process has ended."""
    end = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end:
        if records_file.exists() and records_file.read_bytes().count(b"\n") >= count:
            process.send_signal(number)
            break
        time.sleep(0.01)
    return finish(process)


def facts(output):
    """Everything of the log but the speed."""
    lines = read_records(output / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


@pytest.mark.slow
def test_killed_and_stopped_at_random_moments_it_ends_as_if_nothing_had_happened(tmp_path):
    whole, broken, cache = tmp_path / "whole", tmp_path / "broken", tmp_path / "cache"
    status, out = finish(start(whole, cache))
    assert status == 0, out
    assert "done: best mean IoU" in out

    random = np.random.default_rng()  # another moment each time
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)
    moments = np.sort(random.integers(1, 26, len(signals)))
    ends = []
    for moment, number in zip(moments.tolist(), signals, strict=True):
        status, out = stop_after(start(broken, cache), broken / "metrics.jsonl", moment, number)
        ends.append((moment, number.name, status))
        # 0 where the run was quicker than the signal, -number where it had not begun to train.
        assert status in (0, -number, 128 + number), out
        if status > 0:
            assert f"stopped by {number.name} after step" in out
            assert (broken / "last.safetensors").exists()
    status, out = finish(start(broken, cache))
    assert status == 0, (ends, out)

    for name in ("last.safetensors", "best.safetensors"):
        (expected, _), (found, _) = (read_safetensors(run / name) for run in (whole, broken))
        assert expected.keys() == found.keys()
        for path, array in expected.items():
            assert array.tobytes() == found[path].tobytes(), (path, ends)
    assert facts(broken) == facts(whole), ends
    sheets = sorted(path.name for path in (broken / "sheets").iterdir())
    assert sheets == ["step0000008.png", "step0000016.png", "step0000024.png"]
    assert (broken / "curves.png").exists()


@pytest.mark.slow
def test_two_hosts_train_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    cache, length = tmp_path / "cache", ("--steps", 16, "--eval-every", 8, "--checkpoint-every", 8)

    def start_two():
        hosts = ("--coordinator", address, "--processes", 2, "--process")
        return [start(tmp_path / "two", cache, *length, *hosts, process) for process in range(2)]

    first, second = start_two()
    # Ctrl-C at one of them, of which the other learns.
    stopped = [stop_after(second, tmp_path / "two" / "metrics.jsonl", 2, signal.SIGINT), finish(first)]
    for status, out in stopped:
        assert status in (130, 143), out
        assert "after step" in out
    for status, out in map(finish, start_two()):
        assert status == 0, out
        assert "going on after step" in out
    status, out = finish(start(tmp_path / "one", cache, *length))
    assert status == 0, out
    (expected, _), (found, _) = (
        read_safetensors(tmp_path / run / "last.safetensors") for run in ("one", "two")
    )
    for path, array in expected.items():
        np.testing.assert_allclose(found[path], array, atol=1e-5, err_msg=path)  # seen: 1e-7, in float32
    two, one = facts(tmp_path / "two"), facts(tmp_path / "one")
    assert [line["mean_iou"] for line in two if line["kind"] == "eval"] == [
        line["mean_iou"] for line in one if line["kind"] == "eval"
    ]
    assert [line["step"] for line in two] == [line["step"] for line in one]


@pytest.fixture
def train(monkeypatch, capsys):
    """Calls the script in process: train("--seed", 3) gives (status, standard error)."""
    spec = importlib.util.spec_from_file_location("train_script", ROOT / "scripts" / "train.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        return script.main(), capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected the folder with the files of folder, got none"),
        (["--data-dir", "nowhere"], "nowhere"),
        (["--dataset", "camvit"], "did you mean 'camvid'?"),
        (["--dataset", "scenes", "--batch-size", "9", "--accumulate", "2"], "expected a batch size that"),
        (["--dataset", "scenes", "--devices", "99"], "expected a number of devices from 1 to"),
        (["--dataset", "scenes", "--model", "fcn9s_vgg16"], "did you mean 'fcn"),
        (["--dataset", "scenes", "--weights", "none.pth"], "none.pth"),
    ],
)
def test_mistakes(train, tmp_path, arguments, expected):
    status, error = train("--output", tmp_path / "run", *arguments)
    assert status == 1
    assert error.startswith("train.py: error: ")
    assert expected in error


def test_a_loss_that_is_no_number_stops_with_a_diagnosis(train, tmp_path):
    output = tmp_path / "run"
    wild = ("--optimizer", "sgd", "--lr", "1e25", "--clip", "None", "--warmup", "0")
    status, out = train(*words(SMALL), "--output", output, *wild)
    assert status == 1
    assert "gave a loss or a gradient that is no number" in out
    assert "pictures in its batch: scene_" in out
    assert "what to do: " in out
    steps = [int(path.name) for path in (output / "checkpoints").iterdir() if path.name.isdecimal()]
    assert f"step {max(steps)} gave" in out  # saved as it was before that step


def test_a_validation_set_without_a_class(train, tmp_path):
    for split, label in (("train", 1), ("val", 255)):
        for kind, picture in (
            ("images", Image.new("RGB", (50, 40))),
            ("labels", Image.new("L", (50, 40), label)),
        ):
            (tmp_path / split / kind).mkdir(parents=True)
            picture.save(tmp_path / split / kind / "1.png")
    (tmp_path / "classes.txt").write_text("one\ntwo\n")
    small = SMALL | {"dataset": "folder", "data-dir": tmp_path, "batch-size": 1, "steps": 1}
    status, error = train(*words(small), "--output", tmp_path / "run")
    assert (status, "error" in error) == (0, False), error
    assert read_records(tmp_path / "run" / "metrics.jsonl")[-1]["mean_iou"] is None
    assert (tmp_path / "run" / "best.safetensors").exists()

    Image.new("RGB", (50, 40)).save(tmp_path / "train" / "images" / "2.png")
    Image.new("L", (50, 40), 1).save(tmp_path / "train" / "labels" / "2.png")
    status, error = train(*words(small), "--output", tmp_path / "run")
    assert (status, "expected the pictures that this run began with" in error) == (1, True), error


def test_a_signal_during_an_evaluation_leaves_it_to_the_next_start(train, tmp_path, monkeypatch):
    run, small = tmp_path / "run", words(SMALL | {"steps": 1, "output": tmp_path / "run"})
    labels = Evaluator.labels

    def ask(self, image):
        signal.raise_signal(signal.SIGTERM)
        return labels(self, image)

    def kinds():
        return [record["kind"] for record in read_records(run / "metrics.jsonl")]

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "labels", ask)
        assert train(*small)[0] == 143
    assert kinds() == ["train"]
    assert (run / "last.safetensors").exists()
    assert not (run / "best.safetensors").exists()
    assert train(*small)[0] == 0
    assert kinds() == ["train", "eval"]
    assert (run / "best.safetensors").exists()
    assert train(*small)[0] == 0  # there is nothing left to do
    assert kinds() == ["train", "eval"]
    assert train(*small, "--eval-limit", 1)[0] == 0
    assert kinds() == ["train", "eval", "eval"]  # other scores


def test_a_folder_with_another_run(train, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"seed": 1}))
    status, error = train("--output", tmp_path, "--resume", "never")
    assert (status, "there is a run in this folder already" in error) == (1, True)
    status, error = train("--output", tmp_path)
    assert (status, "seed: was 1, is 0" in error) == (1, True)
    (tmp_path / "config.json").write_text("{")
    status, error = train("--output", tmp_path)
    assert (status, "expected the settings of a run, got no JSON" in error) == (1, True)
