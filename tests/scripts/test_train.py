"""scripts/train.py as a person runs it, where a process is the point: kills, Ctrl-C, hosts, pipes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_run import SETTINGS, assert_same_weights, metrics, words
from weights_converter import read_safetensors

ROOT = Path(__file__).parents[2]
LONGER = SETTINGS | {"steps": 16, "eval_every": 8, "checkpoint_every": 3}

pytestmark = pytest.mark.slow


def start(output, settings=LONGER, before=(), environment=None, **options):
    """Starts a training; what it prints is to be read from its standard output."""
    command = [*before, sys.executable, ROOT / "scripts" / "train.py", *words(settings | {"output": output})]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        **options,
    )


def finish(process):
    try:
        out, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "Traceback" not in out, out
    return process.returncode, out


def wait_for_lines(process, output, count):
    """Waits until the run has written down so many steps and evaluations, or has ended."""
    path, end = output / "metrics.jsonl", time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing befell."""
    output = tmp_path_factory.mktemp("whole")
    status, out = finish(start(output))
    assert (status, "done: best mean IoU" in out) == (0, True), out
    return output


def test_killed_and_stopped_at_random_moments_it_ends_as_if_nothing_had_happened(tmp_path, whole):
    random = np.random.default_rng()  # another moment each time
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)
    moments = np.sort(random.integers(1, 18, len(signals)))
    ends = []
    for moment, number in zip(moments.tolist(), signals, strict=True):
        process = start(tmp_path)
        wait_for_lines(process, tmp_path, moment)
        process.send_signal(number)
        status, out = finish(process)
        ends.append((moment, number.name, status))
        # 0 where the run was quicker than the signal, -number where it had not begun to train.
        assert status in (0, -number, 128 + number), out
        if status > 0:
            assert f"stopped by {number.name} after step" in out
            assert (tmp_path / "last.safetensors").exists()
    status, out = finish(start(tmp_path))
    assert status == 0, (ends, out)
    for name in ("last.safetensors", "best.safetensors"):
        assert_same_weights(whole / name, tmp_path / name)
    assert metrics(tmp_path) == metrics(whole), ends
    sheets = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert sheets == ["step0000008.png", "step0000016.png"]


@pytest.mark.parametrize("moment", ["start", "training"])
def test_ctrl_c_of_the_group_is_left_to_the_run_by_its_workers(tmp_path, moment):
    """As a terminal sends it: to the run and to the processes that prepare batches."""
    process = start(tmp_path, LONGER | {"workers": 2, "steps": 999}, start_new_session=True)
    if moment == "training":
        wait_for_lines(process, tmp_path, 3)
    else:
        while process.poll() is None and not (tmp_path / "config.json").exists():  # workers start after it
            time.sleep(0.01)
        time.sleep(np.random.default_rng().uniform(0, 2))
    os.killpg(process.pid, signal.SIGINT)
    status, out = finish(process)
    assert status == 130, out
    assert "stopping after this step" in out
    assert "stopped by SIGINT after step" in out
    end = time.monotonic() + 10  # within which nothing of the group is left
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(process.pid, 0)
            time.sleep(0.02)
    assert time.monotonic() < end


def test_ctrl_c_before_the_run_listens(tmp_path):
    process = start(tmp_path)
    time.sleep(np.random.default_rng().uniform(0.2, 2))
    process.send_signal(signal.SIGINT)
    status, out = finish(process)
    assert status in (130, -signal.SIGINT), out  # the latter where Python itself had hardly started
    assert "error" not in out


def test_two_hosts_train_as_one(tmp_path, whole):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"

    def start_two():
        hosts = LONGER | {"coordinator": address, "processes": 2}
        return [start(tmp_path, hosts | {"process": process}) for process in range(2)]

    first, second = start_two()
    wait_for_lines(second, tmp_path, 2)
    second.send_signal(signal.SIGINT)  # of which the first learns
    for status, out in map(finish, (second, first)):
        assert status in (130, 143), out
        assert "after step" in out
    for status, out in map(finish, start_two()):
        assert status == 0, out
        assert "resuming after step" in out
    (expected, _), (found, _) = (
        read_safetensors(folder / "last.safetensors") for folder in (whole, tmp_path)
    )
    for path, array in expected.items():
        np.testing.assert_allclose(found[path], array, atol=1e-5, err_msg=path)  # seen: 1e-7, in float32
    one, two = metrics(whole), metrics(tmp_path)
    assert [line["mean_iou"] for line in two if line["kind"] == "eval"] == [
        line["mean_iou"] for line in one if line["kind"] == "eval"
    ]
    assert [line["step"] for line in two] == [line["step"] for line in one]


def test_the_run_goes_on_when_nobody_reads_what_it_prints(tmp_path, whole):
    process = start(tmp_path)
    process.stdout.close()
    assert process.wait(timeout=300) == 0
    assert_same_weights(whole / "last.safetensors", tmp_path / "last.safetensors")


def test_a_full_disk_is_one_line(tmp_path):
    limited = ("bash", "-c", 'ulimit -f 8; exec "$@"', "limited")  # in kB, of each file
    quiet = {"PYTHONWARNINGS": "ignore::UserWarning"}  # of JAX, that it cannot keep what it compiled
    status, out = finish(start(tmp_path, SETTINGS | {"eval_every": 9}, limited, quiet))
    assert status == 1
    told, *errors = [line for line in out.splitlines() if not line.startswith("step ")]
    assert "pictures to train on" in told
    assert len(errors) == 1, out
    assert errors[0].startswith(f"train.py: error: {tmp_path / 'checkpoints'}: step 2 could not be saved: ")
