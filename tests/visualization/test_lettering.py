"""Words on pictures: names of classes, texts cut to fit, legends in lines."""

import numpy as np
import pytest

from fcn_jax.visualization.lettering import class_name, font, legend_entries, legend_lines, shorten

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
    short = shorten(text, font(13), width)
    start, _, end = short.partition("...")
    assert text.startswith(start)
    assert text.endswith(end)
    assert abs(len(start) - len(end)) <= 1
    assert short == "..." or font(13).getlength(short) <= width
    assert shorten(text, font(13), 1000) == text


def test_a_legend_breaks_its_lines_and_shows_every_colour():
    entries = [(index, f"class {index}") for index in range(9)]
    one, more = (
        legend_lines(entries, COLOURS, font(13), 10_000),
        legend_lines(entries, COLOURS, font(13), 200),
    )
    assert more.width <= 200 < one.width
    assert more.height >= 4 * one.height
    for legend in (one, more):
        shown = {tuple(colour) for colour in np.asarray(legend).reshape(-1, 3).tolist()}
        assert {tuple(colour) for colour in COLOURS[:9].tolist()} <= shown
    assert legend_lines([], COLOURS, font(13), 100).width == 1
