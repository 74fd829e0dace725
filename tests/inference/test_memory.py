"""Memory that a program would need is compared with what there is, before it runs."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from fcn_jax.inference import memory
from fcn_jax.inference.memory import available_memory, check_memory


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine with 3 GiB free and 1 GiB of swap, and no limits."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "STATM", tmp_path / "statm")
    (tmp_path / "meminfo").write_text(
        f"MemTotal: {2**23} kB\nMemFree: 5 kB\nMemAvailable: {3 * 2**20} kB\nSwapFree: {2**20} kB\n"
    )
    return tmp_path


def test_the_least_of_all_limits_counts(system, monkeypatch):
    assert available_memory() == 4 * 2**30
    (system / "memory.max").write_text("max\n")
    (system / "memory.current").write_text(f"{2**29}\n")
    assert available_memory() == 4 * 2**30
    (system / "memory.max").write_text(f"{2**30}\n")
    assert available_memory() == 2**29
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2**28, resource.RLIM_INFINITY))
    (system / "statm").write_text(f"{2**27 // resource.getpagesize()} 7 7 7 7 7 7\n")
    assert available_memory() == 2**27


def test_a_system_that_does_not_tell(system):
    (system / "meminfo").unlink()
    assert available_memory() is None
    check_memory(jax.jit(lambda x: x + 1).lower(jnp.zeros(3)).compile())


def test_a_program_too_large_is_refused_before_it_runs(monkeypatch):
    program = jax.jit(lambda x: x + jnp.ones((2**20, 64))).lower(1.0).compile()  # 256 MiB
    monkeypatch.setattr(memory, "available_memory", lambda: 2**28 - 1)
    message = "RESOURCE_EXHAUSTED: Out of memory: it takes 256 MiB, this process can get 256 MiB"
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        check_memory(program)
    monkeypatch.setattr(memory, "available_memory", lambda: 2**29)
    check_memory(program)


LIMITED = """
import resource
import numpy as np
import fcn_jax
model = fcn_jax.fcn32s_vgg16(num_classes=2, features=(8, 8, 8, 8, 8), fc_features=8)
segmenter = fcn_jax.Segmenter(model, tile=None)
segmenter(np.zeros((40, 40, 3), np.uint8))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**28, resource.RLIM_INFINITY))
try:
    segmenter(np.zeros((2800, 2800, 3), np.uint8))
except fcn_jax.OutOfMemoryError as error:
    print(error)
print(segmenter(np.zeros((40, 40, 3), np.uint8)).labels.shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(not memory.STATM.exists(), reason="needs /proc and its limits")
def test_with_a_limit_of_its_own_a_process_goes_on():
    """A large picture is refused in words, and a small one after it is done."""
    ended = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    first, last = ended.stdout.splitlines()
    assert first.startswith("out of memory with a picture of 2800 x 2800 (RESOURCE_EXHAUSTED")
    assert "; try tile=" in first
    assert last == "(40, 40)"
