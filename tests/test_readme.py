"""What the README says is so: its Python runs, its commands parse, its links lead somewhere.

The Python blocks run in order and share their names, as a reader would paste them, in a folder that holds

  fcn_resnet50.pth   a checkpoint of 21 classes with random weights
  dog.jpg            a picture
  photos/            a folder of two pictures

and, as the cache of downloads, nothing: no test reaches the network.
"""

import contextlib
import io
import re
import shlex
import traceback
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_jax.cli.main import build_parser
from fcn_jax.training.command_line import parse_config
from tests.seeded import seeded_state_dict
from tests.weights_converter.legacy_writer import write_torch_legacy

README = Path(__file__).parents[1] / "README.md"
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")


def text():
    if not README.exists():
        pytest.skip("there is no README.md")
    return README.read_text(encoding="utf-8")


def fences(*languages):
    """The contents of the README's blocks, each with the number of its first line."""
    return [
        (text().count("\n", 0, match.start(2)) + 1, match[2])
        for match in FENCE.finditer(text())
        if match[1] in languages
    ]


def commands():
    """Every `fcn-jax ...` of the shell blocks, as a list of words."""
    for line, block in fences("bash", "sh", "shell", "console"):
        for number, command in enumerate(block.replace("\\\n", "  ").splitlines(), line):
            words = shlex.split(command, comments=True)
            words = words[1:] if words[:1] == ["$"] else words
            while words and re.fullmatch(r"\w+=.*", words[0]):  # FCN_JAX_CACHE=... fcn-jax
                words = words[1:]
            if words and Path(words[0]).name == "fcn-jax":
                yield number, words[1:]


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
    blocks = fences("python")
    if not blocks:
        pytest.skip("README.md has no Python blocks")
    names = {"__name__": "__main__"}
    for line, block in blocks:
        code = compile("\n" * (line - 1) + block, str(README), "exec")  # a traceback shows the README's lines
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)
        except Exception:
            pytest.fail(f"the Python block at line {line} of README.md fails:\n{traceback.format_exc()}")


def test_the_commands_parse():
    parser, trainings = build_parser(), 0
    for line, words in commands():
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                if words[0] == "train":
                    assert parse_config(words[1:]).output
                    trainings += 1
                else:
                    parser.parse_args(words)
            except SystemExit as end:
                if end.code:
                    pytest.fail(f"line {line} of README.md, fcn-jax {shlex.join(words)}: {said.getvalue()}")
    assert trainings > 3


def test_the_links_lead_somewhere():
    outside = FENCE.sub("", text())
    links = [link.partition("#")[0] for link in LINK.findall(outside)]
    relative = [link for link in links if link and not re.match(r"[a-z]+:", link)]
    assert [link for link in relative if not (README.parent / link).exists()] == []
