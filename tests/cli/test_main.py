"""The command as a whole: parsing, exit status, and which failures are said in words."""

import errno
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from fcn_jax.cli import messages, models
from fcn_jax.cli.main import COMMANDS, build_parser


def test_the_installed_command(tmp_path):
    """The one test of the entry point that pip makes; it lies beside the interpreter."""
    command = Path(sys.executable).with_name("fcn-jax")
    ended = subprocess.run([command, "models"], capture_output=True, text=True, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "fcn_resnet50_coco-1167a1af.pth" in ended.stdout
    ended = subprocess.run([command, "segment", "no.jpg"], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("fcn-jax: error: no.jpg: expected a picture")
    assert list(tmp_path.iterdir()) == []


def test_every_command_helps(cli):
    for name in COMMANDS:
        status, out, err = cli(name, "--help")
        assert (status, err) == (0, "")
        assert out.startswith(f"usage: fcn-jax {name}")
    out = cli("--help").out
    assert all(f"\n    {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("arguments", [(), ("segmnt",), ("segment",), ("convert", "a.pth"), ("models", "x")])
def test_a_wrong_command_line(cli, arguments):
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: fcn-jax")


def test_the_parser_can_be_had():
    options = build_parser().parse_args(["segment", "a.jpg", "b", "--classes", "dog,12"])
    assert (options.command, options.images, options.classes) == ("segment", ["a.jpg", "b"], "dog,12")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("expected x, got y"), "expected x, got y"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b: Permission denied"),
        (OSError("no file in it"), "no file in it"),
        (MemoryError(), "MemoryError"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), "RESOURCE_EXHAUSTED"),
    ],
)
def test_a_failure_is_said_in_words(cli, monkeypatch, error, said):
    def fail(options):
        raise error

    monkeypatch.setattr(models, "run", fail)
    status, out, err = cli("models")
    assert (status, out) == (1, "")
    assert err.startswith(f"fcn-jax: error: {said}")


@pytest.mark.parametrize("bug", [TypeError, KeyError, RuntimeError, AssertionError])
def test_a_bug_keeps_its_traceback(monkeypatch, bug):
    def fail(options):
        raise bug("a bug")

    monkeypatch.setattr(models, "run", fail)
    assert not issubclass(bug, messages.EXPECTED)
    with pytest.raises(bug, match="a bug"):
        COMMANDS["models"].run(None)


def test_interrupted(cli, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "run", interrupted)
    assert cli("models") == (130, "", "fcn-jax: interrupted\n")
