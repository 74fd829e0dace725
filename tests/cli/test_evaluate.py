"""fcn-jax evaluate: the table and the files, on drawn scenes."""

import json

import numpy as np
import pytest
from PIL import Image

import fcn_jax
from fcn_jax.visualization.confusion import confusion_picture
from fcn_jax.datasets import open_dataset
from fcn_jax.evaluation import Evaluator

SMALL = {"features": (2, 2, 2, 2, 2), "fc_features": 2}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    model = fcn_jax.fcn32s_vgg16(num_classes=6, **SMALL)
    model.score_fr.bias[...] = np.arange(6)  # finds a class, right or wrong
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    fcn_jax.save_weights(model, path)
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


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--scales", "1,x"], "--scales: expected numbers above 0, such as 0.75,1,1.25; got '1,x'"),
        (["--limit", "0"], "--limit: expected a number of pictures of at least 1, got 0"),
        (["--split", "tset"], "tset"),
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


def test_other_classes_than_the_datasets(cli, tmp_path):
    fcn_jax.save_weights(fcn_jax.fcn32s_vgg16(num_classes=4, **SMALL), tmp_path / "four.safetensors")
    status, _, err = cli(
        "evaluate", "--dataset", "scenes", "--weights", tmp_path / "four.safetensors", "--output", tmp_path
    )
    assert status == 1
    assert "expected a dataset of 4 classes, as the model has, got 6: background, disc" in err


def test_the_picture_of_a_confusion_matrix():
    counts = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])
    picture = np.asarray(confusion_picture(counts, ["road", "tree", "sky"]))
    dark = (picture == (20, 70, 140)).all(-1)
    assert dark.sum() > 1000  # the cell of the class that is always right
    assert (picture == (236, 236, 238)).all(-1).sum() > 3000  # the row of the class that does not occur
    with pytest.raises(ValueError, match=r"expected counts \(2, 2\), got \(3, 3\)"):
        confusion_picture(counts, ["road", "tree"])
