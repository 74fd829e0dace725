"""fcn-jax demo: from nothing to figures."""

import numpy as np
import pytest
from PIL import Image

from fcn_jax.cli import demo
from weights_converter import load_model_file


@pytest.mark.slow
def test_the_demo_from_end_to_end(cli, tmp_path):
    """A few steps instead of 560: that these reach 0.90 is for `make demo` to show."""
    output = tmp_path / "shown"
    status, out, err = cli("demo", "--output", output, "--steps", 2)
    assert status == 0
    assert all(line.startswith("step ") for line in err.splitlines())  # no word of a folder that is gone
    found = load_model_file(output / "fcn8s_scenes.safetensors").spec
    assert (found.name, found.num_classes) == ("fcn8s_vgg16", 6)
    for index in range(demo.SHOWN):
        with Image.open(output / f"scene_{index}_labels.png") as labels:
            assert labels.mode == "P"
            assert np.asarray(labels).shape == (128, 128)
    expected = ["curves.png", "fcn8s_scenes.safetensors", "scenes", "sheet.png"]
    kinds = ("figure", "labels", "overlay")
    expected += [f"scene_{index}_{kind}.png" for index in range(demo.SHOWN) for kind in kinds]
    assert sorted(path.name for path in output.iterdir()) == sorted(expected)
    assert "100 scenes that it has not seen" in out
    assert str(output / "scene_0_figure.png") in out


def test_a_file_in_the_folders_place(cli, tmp_path):
    (tmp_path / "taken").touch()
    status, _, err = cli("demo", "--output", tmp_path / "taken")
    assert status == 1
    assert err.startswith(f"fcn-jax: error: {tmp_path / 'taken'}")


def test_no_steps(cli, tmp_path):
    status, _, err = cli("demo", "--output", tmp_path, "--steps", 0)
    assert (status, err) == (1, "fcn-jax: error: --steps: expected at least 1, got 0\n")
