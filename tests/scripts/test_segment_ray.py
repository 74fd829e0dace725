"""The recipe for Ray Data, with two workers on this machine; Ray gets a process of its own."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import fcn_jax
from tests.sources import ROOT

SECONDS = 240  # it takes 20 on two idle cores, most of it for the workers to start


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs pip install '.[ray]'")
def test_two_workers_segment_a_folder(tmp_path):
    names = [f"{number}.png" for number in range(5)] + ["x/1.png"]
    (tmp_path / "in" / "x").mkdir(parents=True)
    for seed, name in enumerate(names):
        values = np.random.RandomState(seed).randint(0, 256, (48, 60, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / "in" / name)
    (tmp_path / "in" / "bad.png").write_text("no picture")
    model = fcn_jax.fcn8s_vgg16(num_classes=5, features=(4, 6, 8, 10, 12), fc_features=16)
    fcn_jax.save_weights(model, tmp_path / "w.safetensors")
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [ROOT / "scripts" / "segment_ray.py", "in", "--weights", "w.safetensors", "--output", "out"]
    ended = subprocess.run(
        [sys.executable, *command, "--workers", "2", "--batch", "2"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 1, ended.stderr
    assert f"6 of 7 segmented, into out{os.sep}\n" in ended.stdout
    assert f"{tmp_path / 'in' / 'bad.png'}: expected an image file" in ended.stderr
    segmenter = fcn_jax.Segmenter(model)
    for name in names:
        with Image.open(tmp_path / "out" / name.replace(".png", "_labels.png")) as labels:
            np.testing.assert_array_equal(np.asarray(labels), segmenter(tmp_path / "in" / name).labels)
