"""Words on pictures: names of classes, texts cut to fit, legends in lines."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fcn_jax.visualization import fonts, lettering
from fcn_jax.visualization.lettering import Lettering, class_name, legend_entries, legend_lines, shorten

COLOURS = np.random.default_rng(0).integers(0, 200, (256, 3), dtype=np.uint8)


def test_a_label_without_a_name_is_called_by_its_number():
    names = [class_name(index, ["sky", "a\nroad"]) for index in (0, 1, 2, 254, 255)]
    assert names == ["sky", "a road", "class 2", "class 254", "void"]
    assert class_name(255, ["c"] * 256) == "c"
    assert legend_entries([3, 0, 1], ["sky", "road"], most=2) == [
        (3, "class 3"),
        (0, "sky"),
        (None, "and 1 more"),
    ]
    assert legend_entries([1], ["sky", "road"], most=1) == [(1, "road")]


@pytest.mark.parametrize("width", [0, 5, 40, 200])
def test_what_is_cut_keeps_both_ends_and_fits(width):
    text = "frame_of_a_long_drive_through_town_000123"
    short = shorten(text, Lettering(13), width)
    start, _, end = short.partition("...")
    assert text.startswith(start)
    assert text.endswith(end)
    assert abs(len(start) - len(end)) <= 1
    assert short == "..." or Lettering(13).length(short) <= width
    assert shorten(text, Lettering(13), 1000) == text


def test_a_legend_breaks_its_lines_and_shows_every_colour():
    entries = [(index, f"class {index}") for index in range(9)]
    one, more = (
        legend_lines(entries, COLOURS, Lettering(13), 10_000),
        legend_lines(entries, COLOURS, Lettering(13), 200),
    )
    assert more.width <= 200 < one.width
    assert more.height >= 4 * one.height
    for legend in (one, more):
        shown = {tuple(colour) for colour in np.asarray(legend).reshape(-1, 3).tolist()}
        assert {tuple(colour) for colour in COLOURS[:9].tolist()} <= shown
    assert legend_lines([], COLOURS, Lettering(13), 100).width == 1


WORDS = {
    "CYRILLIC": ("\u0414\u043e\u043c", "\u041b\u0435\u0441"),
    "CJK": ("\u9053\u8def", "\u5929\u7a7a"),
    "ARABIC": ("\u0634\u0627\u0631\u0639", "\u0633\u0645\u0627\u0621"),
}


def drawn(text):
    page = Image.new("L", (300, 40), 255)
    Lettering(20).write(ImageDraw.Draw(page), (5, 30), text, 0, anchor="ls")
    return np.asarray(page)


@pytest.fixture
def only_pillows_font(monkeypatch):
    """A machine without any font."""
    monkeypatch.setattr(lettering, "TOLD", set())
    monkeypatch.setattr(fonts, "_files", lambda: ())
    for cached in (fonts._font_file, lettering.in_letters_of_a_font):
        cached.cache_clear()
    yield
    for cached in (fonts._font_file, lettering.in_letters_of_a_font):
        cached.cache_clear()


@pytest.mark.parametrize("script", WORDS)
def test_without_a_font_words_become_numbers_and_one_message_says_so(only_pillows_font, script, caplog):
    one, other = WORDS[script]
    assert lettering.in_letters_of_a_font(f"a {one}!") == f"a [{' '.join(f'{ord(c):04X}' for c in one)}]!"
    assert (drawn(one) != drawn(other)).any()
    assert caplog.text.count(f"no font here has the {script} letters of") == 1


@pytest.mark.parametrize("script", WORDS)
def test_words_of_one_length_differ(script):
    assert (drawn(WORDS[script][0]) != drawn(WORDS[script][1])).any()


def test_a_font_is_found_by_its_letters():
    """With matplotlib there is DejaVu, which has Russian letters and no Chinese ones."""
    matplotlib = pytest.importorskip("matplotlib")
    path = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    found = fonts.font(20, "\u0414\u043e\u043c")
    assert found is not None
    assert found.getname()[0] != Lettering(20)._set("abc")[0].getname()[0]
    known = {(path, "\u0414"): True, (path, "\u9053"): False, ("", "\u0414"): False, ("", "A"): True}
    assert {key: fonts._has(*key) for key in known} == known
    assert not any("lastresort" in file.lower() for file in fonts._files())


def test_letters_of_two_fonts(monkeypatch, only_pillows_font):
    """No font has all: what Pillow's own lacks becomes numbers, and the rest stays."""
    monkeypatch.setattr(fonts, "_files", lambda: ("one", "two"))
    known = {"one": "\u0414", "two": "\u9053"}
    has = fonts._has
    monkeypatch.setattr(fonts, "_has", lambda path, each: each in known[path] if path else has(path, each))
    assert lettering.in_letters_of_a_font("a\u0414\u9053") == "a[0414 9053]"


def test_without_a_layout_for_them_letters_from_the_right_are_turned():
    assert lettering._from_the_left("abc 12") == "abc 12"
    assert lettering._from_the_left("\u05d0\u05d1 12") == "12 \u05d1\u05d0"


def test_composed_and_decomposed_letters_are_one():
    assert lettering.in_letters_of_a_font("U\u0308ber") == "\u00dcber"
