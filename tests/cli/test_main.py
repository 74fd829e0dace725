"""The command as a whole: parsing, exit status, and which failures are said in words."""

import errno
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import pytest

from fcn_jax.cli import models
from fcn_jax.cli.main import A_BUG, COMMANDS, build_parser, main
from fcn_jax.errors import MissingPackageError, SettingError

INSTALLED = Path(sys.executable).with_name("fcn-jax")


def test_the_installed_command(tmp_path):
    """The entry point that pip makes; it lies beside the interpreter."""
    ended = subprocess.run([INSTALLED, "segment", "no.jpg"], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("fcn-jax: error: no.jpg: expected a picture")
    assert list(tmp_path.iterdir()) == []


def test_interrupted_while_jax_is_imported(tmp_path):
    """Ctrl-C before the command itself runs: from a module in jax's place, while it is imported."""
    (tmp_path / "jax.py").write_text("import signal\nsignal.raise_signal(2)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    # Whoever starts the tests in the background may have Ctrl-C ignored.
    heard = "import os, signal, sys; signal.signal(2, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", heard, INSTALLED, "models"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "fcn-jax: interrupted\n")


def test_nobody_reads_the_output():
    with subprocess.Popen([INSTALLED, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b"fcn-jax: nobody reads standard output any more\n"
    assert process.returncode == 141


def test_every_command_helps(cli):
    for name in COMMANDS:
        status, out, err = cli(name, "--help")
        assert (status, err) == (0, "")
        assert out.startswith(f"usage: fcn-jax {name}")
    out = cli("--help").out
    assert all(re.search(rf"\n    {name}\s", out) for name in COMMANDS)


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not command.parses])
def test_a_module_says_the_same_of_itself(name):
    first_line = COMMANDS[name].load().__doc__.partition("\n")[0]
    assert first_line == f"fcn-jax {name}: {COMMANDS[name].summary}."


@pytest.mark.parametrize("arguments", [(), ("segmnt",), ("segment",), ("convert", "a.pth"), ("models", "x")])
def test_a_wrong_command_line(cli, arguments):
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: fcn-jax")


def test_the_parser_can_be_had():
    options = build_parser().parse_args(["segment", "a.jpg", "b", "--classes", "dog,12"])
    assert (options.command, options.images, options.classes) == ("segment", ["a.jpg", "b"], "dog,12")


@pytest.fixture
def fail(monkeypatch):
    """Makes `fcn-jax models` end with an error."""

    def fail(error):
        def run(options):
            raise error

        monkeypatch.setattr(models, "run", run)

    return fail


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SettingError("expected x, got y", hint="a smaller {tile}"), "expected x, got y; a smaller --tile"),
        (SettingError(subject="resize_size", expected="x", got="y"), "--resize: expected x, got y"),
        (MissingPackageError("needs SciPy"), "needs SciPy"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b: Permission denied"),
        (OSError(errno.EXDEV, "Cross-device link", "a", None, "b"), "a -> b: Cross-device link"),
        (OSError(errno.ENOSPC, "No space left on device", 1), "No space left on device"),
        (OSError("no file in it"), "no file in it"),
        (MemoryError(), "there is not enough memory"),
        (MemoryError("Unable to allocate 9 TiB"), "there is not enough memory: Unable to allocate 9 TiB"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nBufferAssignment"),
            "there is not enough memory: RESOURCE_EXHAUSTED: Out of memory",
        ),
    ],
)
def test_a_failure_is_said_in_words(cli, fail, error, said):
    fail(error)
    assert cli("models") == (1, "", f"fcn-jax: error: {said}\n")


@pytest.mark.parametrize(
    "bug", [TypeError, KeyError, ValueError, RuntimeError, ImportError, jax.errors.JaxRuntimeError]
)
def test_a_bug_keeps_its_traceback(fail, capsys, bug):
    fail(bug("a bug"))
    assert main(["models"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"fcn-jax: {A_BUG}\nTraceback (most recent call last):\n")
    assert said.rstrip().endswith("a bug") or bug is KeyError
    assert "test_main.py" in said


def test_interrupted(cli, fail):
    fail(KeyboardInterrupt())
    assert cli("models") == (130, "", "fcn-jax: interrupted\n")


def test_what_the_library_reports_is_shown_and_pillows_remarks_are_not(cli, monkeypatch):
    def run(options):
        for package in ("fcn_jax.training.run", "weights_converter.api"):
            logging.getLogger(package).info("saved %s", "a.png")
            logging.getLogger(package).warning("the disk is %d %% full", 99)
            logging.getLogger(package).debug("nothing to see")
        logging.getLogger("elsewhere").info("not ours")
        warnings.warn_explicit("Corrupt EXIF data", UserWarning, "a.py", 1, module="PIL.TiffImagePlugin")
        return 0

    monkeypatch.setattr(models, "run", run)
    logger = logging.getLogger("fcn_jax")
    before = list(warnings.filters), logger.level, logger.handlers[:]
    lines = "saved a.png\nfcn-jax: warning: the disk is 99 % full\n"
    assert cli("models") == (0, "", lines * 2)
    assert (list(warnings.filters), logger.level, logger.handlers[:]) == before


@pytest.mark.parametrize(
    "arguments",
    ["segment a.png", "evaluate --dataset scenes", "export m.zip", "train --dataset scenes --output run"],
)
def test_a_platform_that_cannot_start(cli, arguments, monkeypatch, tmp_path, picture):
    def devices():
        raise RuntimeError("Cannot initialize backend 'cuda': no GPU. (set JAX_PLATFORMS='' to choose)\nmore")

    picture().save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    status, out, err = cli(*arguments.split())
    assert (status, out) == (1, "")
    assert err.endswith(
        ": error: JAX cannot start on 'cuda', which JAX_PLATFORMS asks for: Cannot initialize backend "
        "'cuda': no GPU; unset JAX_PLATFORMS to use the best platform of this machine, or set it to cpu\n"
    )
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.png"]


def test_a_platform_that_does_not_exist(tmp_path):
    command = [INSTALLED, "export", tmp_path / "m.zip"]
    environment = os.environ | {"JAX_PLATFORMS": "nonsense"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 1
    assert ended.stderr.startswith("fcn-jax: error: JAX cannot start on 'nonsense', which JAX_PLATFORMS asks")
    assert ended.stderr.count("\n") == 1
