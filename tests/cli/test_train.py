"""fcn-jax train: its words and its exit status. What a run does is in tests/training and tests/scripts."""

import importlib.util
import logging
import signal
import sys
import warnings
from pathlib import Path

import pytest

from fcn_jax.cli.train import as_program
from fcn_jax.training.config import save_config
from tests.training.tiny_run import SETTINGS, assert_same_weights, tiny_config, words

ROOT = Path(__file__).parents[2]
TINY = words(SETTINGS | {"steps": 1, "eval_limit": 1})


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_script", ROOT / "scripts" / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def finished(cli, tmp_path_factory):
    """The folder of a run of one step."""
    output = tmp_path_factory.mktemp("finished")
    status, out, err = cli("train", *TINY, "--output", output)
    assert (status, out) == (0, "")
    assert "after step 1: mean IoU 0." in err
    assert f"after step 1; see {output}\n" in err
    return output


@pytest.mark.slow
def test_the_command_and_the_script_are_the_same_run(finished, script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", *TINY, "--output", str(tmp_path)])
    assert as_program(script.train, "train.py", script.__doc__) == 0
    assert capsys.readouterr().err.endswith(f"see {tmp_path}\n")
    for name in ("last.safetensors", "best.safetensors"):
        assert_same_weights(finished / name, tmp_path / name)


@pytest.mark.slow
def test_the_process_is_left_as_it_was(cli, finished):
    def state():
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        streams = sys.stdout, sys.stderr, sys.unraisablehook
        return handlers, logging.getLogger().handlers[:], warnings.filters[:], streams

    before = state()
    assert cli("train", *TINY, "--output", finished).status == 0
    assert state() == before


def test_the_page_to_read_is_short():
    assert len((ROOT / "scripts" / "train.py").read_text().splitlines()) <= 120


def test_help_names_recipes_and_settings(cli):
    status, out, _ = cli("train", "--help")
    assert status == 0
    for word in ("fcn-jax train --data-dir photos", "--recipe", "--eval-every", "small-data", "130 or 143"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected the folder that holds the dataset (folder), got none; give it as --data-dir"),
        (["--data-dir", "nowhere"], "nowhere"),
        (["--dataset", "camvit"], "did you mean 'camvid'?"),
        (
            ["--dataset", "scenes", "--batch-size", "9", "--accumulate", "2"],
            "--batch-size: expected a multiple",
        ),
        (["--dataset", "scenes", "--devices", "99"], "--devices: expected a number from 1 to"),
        (["--dataset", "scenes", "--model", "fcn9s_vgg16"], "did you mean 'fcn"),
        (["--dataset", "scenes", "--weights", "none.pth"], "none.pth"),
        (
            ["--dataset", "scenes", "--resume", "must", *TINY[2:]],
            "--resume: expected a checkpoint to resume from",
        ),
    ],
)
def test_mistakes(cli, tmp_path, arguments, expected):
    status, out, err = cli("train", "--output", tmp_path / "run", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("fcn-jax train: error: ")
    assert expected in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--stepz", "5"], ["--lr", "x"], ["--average", "1.5"]])
def test_a_wrong_command_line(cli, arguments):
    assert cli("train", *arguments).status == 2


def test_hints_name_options(cli, tmp_path):
    save_config(tiny_config(tmp_path, seed=1), tmp_path / "config.json")
    _, _, err = cli("train", "--dataset", "scenes", "--output", tmp_path, "--resume", "never")
    assert err == (
        f"fcn-jax train: error: {tmp_path}: there is a run in this folder already; "
        'choose another --output, or resume it with --resume "auto"\n'
    )
    _, _, err = cli("train", "--dataset", "scenes", "--output", tmp_path)
    assert "seed: was 1, is 0" in err
    assert "repeat them to resume it, or choose another --output" in err
