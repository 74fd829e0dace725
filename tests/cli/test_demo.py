"""fcn-jax demo: from nothing to figures."""

import numpy as np
import pytest
from PIL import Image

from fcn_jax.cli import demo
from weights_converter import load_model_file


@pytest.mark.slow
def test_the_demo_from_end_to_end(cli, tmp_path):
    output = tmp_path / "shown"
    status, out, err = cli("demo", "--output", output)
    assert (status, err) == (0, "")
    found = load_model_file(output / "fcn_resnet50_random.pth").architecture
    assert (found.model_name, found.num_classes, found.aux) == ("fcn_resnet50", 6, True)
    for seed in range(demo.PICTURES):
        with Image.open(output / f"scene{seed}_labels.png") as labels:
            assert (labels.mode, labels.size) == ("P", demo.SIZE)
            assert len(np.unique(np.asarray(labels))) > 1  # there is something to see
        assert f"{output / 'pictures' / f'scene{seed}.png'} (320 x 240)" in out
    expected = ["fcn_resnet50_random.pth", "pictures"]
    kinds = ("figure", "labels", "overlay")
    expected += [f"scene{seed}_{kind}.png" for seed in range(demo.PICTURES) for kind in kinds]
    assert sorted(path.name for path in output.iterdir()) == expected
    assert str(output / "scene0_figure.png") in out


def test_scenes_are_drawn_alike_each_time():
    one, again, other = (np.asarray(demo.draw_scene(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (*demo.SIZE[::-1], 3)
    assert (one != other).any()


def test_a_file_in_the_folders_place(cli, tmp_path):
    (tmp_path / "taken").touch()
    status, _, err = cli("demo", "--output", tmp_path / "taken")
    assert status == 1
    assert err.startswith(f"fcn-jax: error: {tmp_path / 'taken'}")
