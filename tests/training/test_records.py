"""What a run writes down, and how a log is mended when a run goes on."""

import json

import pytest

from fcn_jax.training.records import Records, read_records


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


def test_a_file_of_something_else(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 0}\n{"hello": 1}\n')
    with pytest.raises(
        ValueError, match=r"metrics.jsonl: expected a record of a run in line 2, got '{\"hello"
    ):
        Records(tmp_path)


def test_other_hosts_write_nothing(tmp_path):
    write(None, range(2))
    assert list(tmp_path.iterdir()) == []
