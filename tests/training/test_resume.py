"""What may differ when a run goes on, and what may not. Whole runs are in test_run.py."""

import dataclasses

import pytest

from fcn_jax.datasets import DatasetError
from fcn_jax.errors import SettingError
from fcn_jax.training.config import Config, as_json
from fcn_jax.training.resume import check_goes_on, check_same_run


def test_settings_that_decide_the_weights_must_be_the_same(tmp_path):
    config = Config(steps=10, output=tmp_path)
    saved = as_json(config)
    check_same_run(dataclasses.replace(config, workers=4, checkpoint_every=7), saved)
    with pytest.raises(
        SettingError, match=r"other settings \(steps: was 10, is 20; seed: was 0, is 1\); repeat"
    ):
        check_same_run(dataclasses.replace(config, steps=20, seed=1), saved)


def test_a_setting_that_an_older_version_lacked_had_its_default(tmp_path):
    saved = as_json(Config(output=tmp_path))
    del saved["dropout"]
    check_same_run(Config(output=tmp_path), saved)
    with pytest.raises(SettingError, match="dropout: was True, is False"):
        check_same_run(Config(output=tmp_path, dropout=False), saved)


def test_pictures_and_classes_must_be_the_same(tmp_path):
    config = Config(output=tmp_path)
    facts = {"config": as_json(config), "categories": ["road", "sky"], "pictures": "a digest"}
    check_goes_on(config, facts, facts)
    check_goes_on(config, facts, {name: facts[name] for name in ("config", "pictures")})  # as saved in 0.1
    with pytest.raises(DatasetError, match="expected the pictures that this run began with"):
        check_goes_on(config, facts, facts | {"pictures": "another"})
    with pytest.raises(DatasetError, match=r"that this run began with \(road, sea\), got road, sky; restore"):
        check_goes_on(config, facts, facts | {"categories": ["road", "sea"]})
