"""What the README says is so: its Python runs and its commands parse. `test_docs.py` looks at its links.

The Python blocks run in order and share their names, as a reader would paste them, in a folder that holds

  fcn_resnet50.pth   a checkpoint of 21 classes with random weights
  dog.jpg            a picture
  photos/            a folder of two pictures

and, as the cache of downloads, nothing: no test reaches the network.
"""

import contextlib
import io
import shlex
import traceback

import numpy as np
import pytest
from PIL import Image

from fcn_jax.cli.main import build_parser
from fcn_jax.training.command_line import parse_config
from tests.pages import README, SHELL, blocks, run_python
from tests.seeded import seeded_state_dict
from tests.weights_converter.legacy_writer import write_torch_legacy

LARGEST = 6 * 1024  # bytes: a README of one screen, with pages behind it


def test_it_is_short():
    assert README.stat().st_size <= LARGEST


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with what the README names in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FCN_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FCN_JAX_OFFLINE", "1")
    write_torch_legacy(
        "fcn_resnet50.pth",
        {
            name: array.astype(np.float32) if array.ndim else array
            for name, array in seeded_state_dict("fcn_resnet50", 21).items()
        },
    )
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate(("dog.jpg", "photos/dog.jpg", "photos/street.jpg")):
        values = np.random.RandomState(seed).randint(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(values).resize((64, 48)).save(name)
    yield tmp_path
    (tmp_path / "fcn_resnet50.pth").unlink()  # pytest keeps folders of several runs, and this one is large


@pytest.mark.slow
def test_the_python_blocks_run(folder):
    names = {"__name__": "__main__"}
    for block in blocks(README, "python"):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                run_python(README, block, names)
        except Exception:
            pytest.fail(
                f"the Python block at line {block.line} of README.md fails:\n{traceback.format_exc()}"
            )
    assert "result" in names


def test_the_commands_parse():
    parser, ours = build_parser(), []
    commands = [found for block in blocks(README, *SHELL) for found in block.commands()]
    for line, (program, command, *rest) in commands:
        assert program == "fcn-jax"
        ours.append(command)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                if command == "train":
                    assert parse_config(rest).output
                else:
                    parser.parse_args([command, *rest])
            except SystemExit as end:
                if end.code:
                    pytest.fail(
                        f"line {line} of README.md, {shlex.join([command, *rest])}: {said.getvalue()}"
                    )
    assert {"segment", "check", "train"} <= set(ours)
