"""What a download says."""

import io
import sys

from tests.weights import loopback
from tests.weights.download.loopback import CONTENT, get


def test_lines_where_there_is_no_terminal(server, folder, capsys):
    server.script += [loopback.status(503)]
    get(server, folder, progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"fcn_jax: fetching {server.weights().file_name}",
        "fcn_jax: the server answered HTTP 503 Service Unavailable; trying again in 0.001 s",
    ]


def test_nothing_without_progress(server, folder, capfd):
    server.script += [loopback.status(503), loopback.flipped]
    get(server, folder)
    assert capfd.readouterr() == ("", "")


def test_a_bar_on_a_terminal(server, folder, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    server.script += [loopback.cut(120_000), loopback.drip(4, pause=0.02)]
    get(server, folder, progress=True)
    assert server.weights().file_name in terminal.getvalue()
    assert "195.3/195.3 KiB" in terminal.getvalue()
    assert "trying again" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()


def test_a_process_without_error_stream(server, folder, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert get(server, folder, progress=True).read_bytes() == CONTENT
