"""Configurations are read as data: what is read, what is not, and that nothing runs."""

import pytest

from weights_converter.config_text import LONGEST, UNREADABLE, read_config


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("'text'", "text"),
        ("None", None),
        ("True", True),
        ("(1, [2, 'a'], ())", (1, [2, "a"], ())),
        ("{'a': 1, 'b': {}}", {"a": 1, "b": {}}),
        ("dict(a=1, b=dict(c=(2,)))", {"a": 1, "b": {"c": (2,)}}),
        ("dict()", {}),
    ],
)
def test_plain_data(text, value):
    assert read_config(f"x = {text}") == {"x": value}


@pytest.mark.parametrize(
    "text",
    ["1 + 2", "f(1)", "dict([1])", "dict(**y)", "{1: 2}", "unknown", "[i for i in ()]", "a.b", "{**y}", "1j"],
)
def test_anything_else_is_unreadable_and_the_rest_is_read(text):
    assert read_config(f"x = dict(a={text}, b=1)\nz = 3") == {"x": {"a": UNREADABLE, "b": 1}, "z": 3}


def test_names_stand_for_what_was_assigned_before():
    assert read_config("a = dict(b=1)\nc = d = [a]\na = 2") == {"a": 2, "c": [{"b": 1}], "d": [{"b": 1}]}


@pytest.mark.parametrize("text", ["a = (", "a = " + "(" * 5000, "\0", "a = 1\n" + "#" * LONGEST])
def test_what_is_no_source_is_none(text):
    assert read_config(text) is None


def test_nothing_is_run(tmp_path):
    path = tmp_path / "made"
    text = f"import pathlib\nx = pathlib.Path({str(path)!r}).touch()\nopen({str(path)!r}, 'w')\ny = 1"
    assert read_config(text) == {"x": UNREADABLE, "y": 1}
    assert not path.exists()
