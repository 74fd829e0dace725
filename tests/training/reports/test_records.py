"""What a run writes down, and how a log is mended when a run goes on."""

import json
import struct
import sys

import pytest

from fcn_jax.training.reports.records import Records, RecordsError, read_records


def write(folder, steps, first_step=0):
    with Records(folder, first_step=first_step) as records:
        for step in steps:
            records.train(step, {"loss": 1 / (step + 1), "lr": 0.1})
            if step % 2:
                records.eval(step + 1, {"mean_iou": float("nan")})


def test_lines_are_json(tmp_path):
    write(tmp_path, range(2))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == read_records(tmp_path / "metrics.jsonl")
    assert json.loads(lines[0]) == {"kind": "train", "step": 0, "loss": 1.0, "lr": 0.1}
    assert json.loads(lines[2]) == {"kind": "eval", "step": 2, "mean_iou": None}


def test_a_run_that_goes_on_has_the_log_of_one_never_broken_off(tmp_path):
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole", range(8))
    write(tmp_path, range(6))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # torn
    write(tmp_path, range(4, 8), first_step=4)
    assert (tmp_path / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    "tail", ['{"k', '{"kind": "train", "step": 3', '{"kind": "eval", "step": 3}', "\0" * 512]
)
def test_a_torn_last_line_is_left_out(tmp_path, tail):
    write(tmp_path, range(2))
    whole = read_records(tmp_path / "metrics.jsonl")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(tail)
    assert read_records(tmp_path / "metrics.jsonl") == whole


def test_no_number_is_null_at_any_depth(tmp_path):
    with Records(tmp_path) as records:
        records.eval(3, {"loss": float("inf"), "classes": [{"iou": float("nan"), "name": "sky"}]})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "kind": "eval",
        "step": 3,
        "loss": None,
        "classes": [{"iou": None, "name": "sky"}],
    }


def test_every_line_is_in_the_file_at_once(tmp_path):
    with Records(tmp_path) as records:
        for step in range(3):
            records.train(step, {"loss": 1.0})
            assert len(read_records(tmp_path / "metrics.jsonl")) == step + 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"my only notes", "line 1, got 'my only notes'"),
        (b"\xff\xfe\x00notes\n", "line 1, got "),
        (b'{"kind": "train", "step": true}\n', "line 1, got "),
        (b'{"kind": "train", "step": 0}\nnotes', "line 2, got 'notes'"),
    ],
)
def test_a_file_of_something_else_is_moved_aside(tmp_path, content, expected, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordsError, match=f"expected a record of a run in {expected}.*move the file away"):
        read_records(path)
    with Records(tmp_path):
        pass
    assert (tmp_path / "metrics-damaged.jsonl").read_bytes() == content
    assert f"{path}: damaged (no record of a run in {expected.partition(',')[0]}), moved to" in caplog.text
    assert read_records(path) == []


def events(folder):
    """The (step, tag) of a folder's scalars that TensorBoard keeps: a start forgets what is not before it."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    kept = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            size = struct.unpack("<Q", data[:8])[0]
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            if event.session_log.status == event_pb2.SessionLog.START:
                kept = [scalar for scalar in kept if scalar[0] < event.step]
            kept += [(event.step, value.tag) for value in event.summary.value]
    return kept


def test_tensorboard_keeps_what_the_log_keeps(tmp_path):
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole", range(8))
    write(tmp_path, range(6))
    write(tmp_path, range(4, 8), first_step=4)
    kept = events(tmp_path / "tensorboard")
    assert kept == events(tmp_path / "whole" / "tensorboard")
    assert kept == [(step, f"train/{name}") for step in range(1, 9) for name in ("loss", "lr")]


def test_tensorboard_keeps_the_scores_at_the_step_gone_on_from(tmp_path):
    for first in (0, 4):
        with Records(tmp_path, first_step=first) as records:
            records.train(first + 3, {"loss": 1.0})
            records.eval(first + 4, {"mean_iou": 0.5, "worst": float("nan")})
        scores = [scalar for scalar in events(tmp_path / "tensorboard") if scalar[1].startswith("eval")]
    assert scores == [(4, "eval/mean_iou"), (8, "eval/mean_iou")]


def test_without_tensorboardx_it_is_said_once(tmp_path, monkeypatch, caplog):
    caplog.set_level("DEBUG", "fcn_jax")
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)
    with Records(tmp_path) as records:
        records.train(0, {"loss": 1.0})
        records.train(1, {"loss": 1.0})
    assert caplog.messages == ["no TensorBoard events: pip install 'fcn_jax[tensorboard]' to get them"]
    assert len(read_records(tmp_path / "metrics.jsonl")) == 2
    assert not (tmp_path / "tensorboard").exists()


def test_what_was_evaluated_before_is_known(tmp_path):
    write(tmp_path, range(8))
    with Records(tmp_path, first_step=4) as records:
        assert [record["step"] for record in records.evaluations] == [2, 4]


def test_other_hosts_write_nothing(tmp_path):
    write(None, range(2))
    assert list(tmp_path.iterdir()) == []
