"""Eight simulated devices, in another process, give the result of one device."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fcn_jax import Segmenter
from tests.inference.tiny import TinyFCN, picture

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.devices
def test_eight_devices_and_another_process_give_the_result_of_one(tmp_path):
    """Batches of one size and of several, rows of one picture, and tiles; also a pickled segmenter."""
    segmenter = Segmenter(TinyFCN())
    result = segmenter(picture(61, 43))
    expected = result.confidence, result.probability(3)
    (tmp_path / "pickled").write_bytes(pickle.dumps((segmenter, result, expected)))
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-m", "tests.inference.device_runs", tmp_path / "pickled"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    errors = dict(line.split() for line in ended.stdout.splitlines())
    exact = {"batch", "sizes", "rows", "tiles", "pickled", "odd"}
    assert set(errors) == exact | {"unpickled", "result", "foreign"}
    for name, value in errors.items():
        bound = 1e-12 if name in exact else 1e-6
        assert float(value) < bound, name  # 0 to 1e-15
    assert np.isfinite(result.confidence).all()
