"""Arrays that are spread over devices and hosts: their digests, and their way to files and back."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from fcn_jax.training.checkpointing.checkpoints import Checkpoints
from fcn_jax.training.checkpointing.digests import digests
from tests.training.checkpointing.saved import a_tree

ROOT = Path(__file__).parents[3]


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def run(folder, hosts, devices):
    """Runs checkpoint_hosts in as many processes, of as many devices each; gives what each printed."""
    flags = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.training.checkpointing.checkpoint_hosts",
        str(folder),
    ]
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(hosts), port],
            cwd=ROOT,
            env=os.environ | flags,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(hosts)
    ]
    try:
        outputs = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, error) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, error
    return [json.loads(printed.splitlines()[-1]) for printed, _ in outputs]


@pytest.mark.slow
@pytest.mark.devices
@pytest.mark.parametrize(("hosts", "devices"), [(1, 8), (2, 2)])
def test_spread_arrays(tmp_path, hosts, devices):
    tree = a_tree() | {"rows": jnp.arange(80.0).reshape(16, 5), "columns": jnp.ones((3, 24), jnp.bfloat16)}
    results = run(tmp_path / "checkpoints", hosts, devices)
    for result in results:
        assert result["devices"] == result["split"] == hosts * devices
        assert result["digests"] == [digests(tree)] * 5  # those of one device
        assert result["steps"] == [2, 1, 2]
        assert result["same places"]
        assert "skipped step 2, which is damaged" in result["skipped"][0]
    assert (tmp_path / "checkpoints" / "damaged-2").is_dir()
    restored = Checkpoints(tmp_path / "checkpoints").restore(tree)  # by one process and device
    assert digests(restored.tree) == digests(tree)
