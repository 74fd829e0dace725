"""Mean and deviation of a training set's channels, from files to a table and a file."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import call


@pytest.fixture
def fields(tmp_path):
    """Three arrays with five channels of 16 bits, of different sizes; all their pixels."""
    root, pixels = tmp_path / "fields", []
    (root / "images" / "train").mkdir(parents=True)
    (root / "labels" / "train").mkdir(parents=True)
    for number in range(3):
        image = np.random.RandomState(number).randint(0, 9000, (5 + number, 7, 5)).astype(np.uint16)
        np.save(root / "images" / "train" / f"{number}.npy", image)
        Image.fromarray((image[..., 0] > 4000).astype(np.uint8)).save(
            root / "labels" / "train" / f"{number}.png"
        )
        pixels.append(image.reshape(-1, 5))
    (root / "classes.txt").write_text("soil\ncrop\n")
    return root, np.concatenate(pixels).astype(np.float64)


def test_the_table_and_the_file(fields, tmp_path):
    root, pixels = fields
    arguments = ("statistics", "--data-dir", root, "--in-channels", 5, "--output", tmp_path / "found.json")
    status, out, err = call(*arguments)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[-1] == "3 pictures of folder train, uint16"
    for channel, line in enumerate(lines[1:-1]):
        number, mean, std = line.split()
        assert int(number) == channel
        assert float(mean) == pytest.approx(pixels[:, channel].mean(), rel=1e-5)  # six digits
        assert float(std) == pytest.approx(pixels[:, channel].std(), rel=1e-5)
    found = json.loads((tmp_path / "found.json").read_text())
    np.testing.assert_allclose(found["mean"], pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found["std"], pixels.std(0), rtol=1e-12)


def test_channels_that_do_not_fit(fields):
    root, _ = fields
    np.save(root / "images" / "train" / "1.npy", np.zeros((6, 7, 3), np.uint16))
    status, _, err = call("statistics", "--data-dir", root, "--in-channels", 5)
    assert status == 1
    assert "1.npy: " in err
    assert "expected 5 channels, got 3" in err
    status, _, err = call("statistics", "--data-dir", root)
    assert status == 1
    assert "expected a picture in 8-bit RGB" in err
