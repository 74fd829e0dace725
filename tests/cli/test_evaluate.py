"""fcn-jax evaluate: the table and the files, on drawn scenes."""

import json

import numpy as np
import pytest
from PIL import Image

import fcn_jax
from fcn_jax.datasets import open_dataset
from fcn_jax.evaluation import Evaluator
from tests.seeded import seeded_paper_state_dict
from tests.weights_converter.legacy_writer import write_torch_legacy


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A narrow network with the scenes' six classes, as the PyTorch port saves it."""
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    tensors = seeded_paper_state_dict("fcn32s_vgg16", num_classes=6).items()
    write_torch_legacy(path, {name: array.astype(np.float32) for name, array in tensors})
    return path


def test_scores_of_three_scenes(cli, weights, tmp_path):
    output = tmp_path / "scores"
    status, out, err = cli(
        "evaluate", "--dataset", "scenes", "--weights", weights, "--limit", 3, "--output", output
    )
    assert (status, err) == (0, "")
    facts = json.loads((output / "scores.json").read_text())
    evaluator = Evaluator(fcn_jax.load_model(weights))
    expected = evaluator.run(open_dataset("scenes", split="val"), indices=range(3))
    assert facts["confusion"] == expected.counts.tolist()
    assert facts["mean_iou"] == expected.scores().mean_iou
    assert (facts["pictures"], facts["of"], facts["model"]) == (3, 100, "fcn32s_vgg16")
    assert [each["name"] for each in facts["classes"]][1] == "disc"
    assert "3 of 100 pictures of scenes val" in out
    with Image.open(output / "confusion.png") as picture:
        assert picture.mode == "RGB"


def test_windows(cli, weights, tmp_path):
    """By the option, or as a file's metadata say that its weights were tested."""
    model = fcn_jax.load_model(weights)
    model.update_meta(window=fcn_jax.Window(crop=(96, 96), stride=(64, 64)))
    fcn_jax.save_weights(model, tmp_path / "tested.safetensors")
    windows = {}
    for path, *options in ((weights,), (weights, "--window", "96"), (tmp_path / "tested.safetensors",)):
        arguments = ("--weights", path, "--limit", 1, "--output", tmp_path / "scores", *options)
        assert cli("evaluate", "--dataset", "scenes", *arguments).status == 0
        facts = json.loads((tmp_path / "scores" / "scores.json").read_text())
        windows[path, *options] = facts["window"], facts["confusion"]
    (without, whole), (chosen, averaged), (tested, same) = windows.values()
    assert without is None
    assert chosen == tested == {"crop": [96, 96], "stride": [64, 64]}
    assert averaged == same != whole


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--scales", "1,x"], "--scales: expected numbers above 0, such as 0.75,1,1.25, got '1,x'"),
        (["--limit", "0"], "--limit: expected a number of pictures of at least 1, got 0"),
        (["--split", "tset"], "tset"),
        (["--window", "x"], "--window: expected a number of pixels, none or weights, got 'x'"),
        (["--stride", "5"], "--stride: expected --window N beside it, got 5"),
        (["--window", "8", "--stride", "9"], "--stride: expected at most the window, (8, 8), got (9, 9)"),
        (["--data-dir", "somewhere"], "somewhere"),
    ],
)
def test_mistakes(cli, weights, tmp_path, arguments, expected):
    status, _, err = cli(
        "evaluate", "--dataset", "scenes", "--weights", weights, "--output", tmp_path, *arguments
    )
    assert status == 1
    assert err.startswith("fcn-jax: error: ")
    assert expected in err


def test_other_classes_than_the_datasets(cli, port, tmp_path):
    status, _, err = cli("evaluate", "--dataset", "scenes", "--weights", port, "--output", tmp_path)
    assert status == 1
    assert "expected a dataset with the model's 5 classes, got 6: background, disc" in err


def test_a_dataset_without_its_folder(cli, weights, tmp_path):
    ended = cli("evaluate", "--dataset", "voc", "--weights", weights, "--output", tmp_path)
    said = "expected the folder that holds the dataset (voc), got none; give it as --data-dir"
    assert ended == (1, "", f"fcn-jax: error: {said}\n")
