"""scripts/draw_skips.py on a handful of scenes: that the networks learn is for docs/skips.png to show."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "scripts" / "draw_skips.py"


@pytest.mark.slow
def test_the_page_is_drawn(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("draw_skips", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    steps = {"fcn32s_vgg16": 2, "fcn16s_vgg16": 1}  # the finer starts from the coarser
    script.draw(tmp_path / "skips.png", steps, training=3, unseen=script.SHOWN)
    with Image.open(tmp_path / "skips.png") as page:
        assert page.size == (
            script.GAP + (script.SIZE + script.GAP) * 4,
            script.HEADER + (script.SIZE + script.GAP) * 3 + 34,
        )
    out = capsys.readouterr().out
    assert "fcn32s_vgg16: mean IoU 0." in out
    assert "fcn16s_vgg16: mean IoU 0." in out
