"""What a download says: a bar on a terminal, and messages to the log."""

import io
import logging
import sys

from tests.weights.download import loopback
from tests.weights.download.loopback import CONTENT, get


def test_what_happens_is_logged(server, folder, caplog, capfd):
    caplog.set_level(logging.INFO)
    server.script += [loopback.status(503), loopback.flipped]
    get(server, folder, progress=True)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said[:2] == [
        ("INFO", f"downloading {server.weights().file_name}"),
        ("WARNING", "the server answered HTTP 503 Service Unavailable; trying again in 0.001 s"),
    ]
    (level, damage) = said[2]
    assert (level, len(said)) == ("WARNING", 3)
    assert "is damaged: expected sha256" in damage
    assert capfd.readouterr() == ("", "")  # nothing but the log


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
    assert "\x1b[" in terminal.getvalue()


def test_a_process_without_error_stream(server, folder, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert get(server, folder, progress=True).read_bytes() == CONTENT
