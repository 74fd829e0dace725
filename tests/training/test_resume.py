"""What may differ when a run goes on, and what may not. Whole runs are in tests/scripts."""

import dataclasses
import json

import pytest

from fcn_jax.datasets import DatasetError
from fcn_jax.training.config import Config, as_json, save_config
from fcn_jax.training.resume import check_goes_on, check_same_run


def test_settings_that_decide_the_weights_must_be_the_same(tmp_path):
    config = Config(steps=10, output=tmp_path)
    save_config(config, tmp_path / "config.json")
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved == as_json(config)
    check_same_run(dataclasses.replace(config, workers=4, checkpoint_every=7), saved)
    with pytest.raises(
        ValueError, match=r"other settings \(steps: was 10, is 20; seed: was 0, is 1\); repeat"
    ):
        check_same_run(dataclasses.replace(config, steps=20, seed=1), saved)


def test_the_pictures_must_be_the_same(tmp_path):
    config = Config(output=tmp_path)
    check_goes_on(config, "a digest", {"config": as_json(config), "pictures": "a digest"})
    with pytest.raises(DatasetError, match="expected the pictures that this run began with"):
        check_goes_on(config, "another", {"config": as_json(config), "pictures": "a digest"})
