"""Compares time and memory of reading a checkpoint with torch.load.

    python scripts/benchmark_reading.py [--rounds 15]

Writes random weights in the shapes of fcn_resnet101 (640 tensors, 208 MiB) in both formats of torch.save.
`torch.load(weights_only=True)` and `read_checkpoint` then read each file in turns and look at every byte;
`read_checkpoint` also verifies all checksums. Needs torch, and Linux to measure memory. Expect ratios below
1.5 and memory below 1.3 times the file.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from weights_converter.readers import read_checkpoint

# Runs in a fresh process: peak memory minus memory before reading. Not from ru_maxrss, which a process
# inherits from its parent.
MEMORY_PROGRAM = """
import sys
import numpy as np
from weights_converter.readers import read_checkpoint

def memory(field):
    return int(open("/proc/self/status").read().partition(field)[2].split()[0])

before = memory("VmRSS:")
for array in read_checkpoint(sys.argv[1]).values():
    array.reshape(-1).view(np.uint8).max()
print((memory("VmHWM:") - before) * 1024)
"""


def random_state_dict() -> dict[str, torch.Tensor]:
    tensors = {}

    def add_conv(name, outputs, inputs, kernel):
        tensors[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel)

    def add_batch_norm(name, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{name}.{leaf}"] = torch.randn(channels)
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(0)

    add_conv("backbone.conv1", 64, 3, 7)
    add_batch_norm("backbone.bn1", 64)
    inputs = 64
    for layer, blocks in enumerate((3, 4, 23, 3), start=1):
        width = 32 * 2**layer
        for block in range(blocks):
            name = f"backbone.layer{layer}.{block}"
            sizes = ((width, inputs, 1), (width, width, 3), (4 * width, width, 1))
            for number, size in enumerate(sizes, start=1):
                add_conv(f"{name}.conv{number}", *size)
                add_batch_norm(f"{name}.bn{number}", size[0])
            if block == 0:
                add_conv(f"{name}.downsample.0", 4 * width, inputs, 1)
                add_batch_norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    for head, inputs in (("classifier", 2048), ("aux_classifier", 1024)):
        add_conv(f"{head}.0", inputs // 4, inputs, 3)
        add_batch_norm(f"{head}.1", inputs // 4)
        add_conv(f"{head}.4", 21, inputs // 4, 1)
        tensors[f"{head}.4.bias"] = torch.randn(21)
    return tensors


def read_with_torch(path: Path) -> list[int]:
    return [look_at(tensor.numpy()) for tensor in torch.load(path, weights_only=True).values()]


def read_with_ours(path: Path) -> list[int]:
    return [look_at(array) for array in read_checkpoint(path).values()]


def look_at(array: np.ndarray) -> int:
    return int(array.reshape(-1).view(np.uint8).max())


def seconds(read, path: Path) -> float:
    begin = time.perf_counter()
    read(path)
    return time.perf_counter() - begin


def peak_memory(path: Path) -> int:
    command = [sys.executable, "-c", MEMORY_PROGRAM, path]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds

    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{versions}, {os.cpu_count()} cores, {rounds} rounds")
    state_dict = random_state_dict()
    with tempfile.TemporaryDirectory() as folder:
        for form, new in (("zip", True), ("stream", False)):
            path = Path(folder, f"{form}.pth")
            torch.save(state_dict, path, _use_new_zipfile_serialization=new)
            assert read_with_torch(path) == read_with_ours(path)  # also warms both up
            pairs = [(seconds(read_with_ours, path), seconds(read_with_torch, path)) for _ in range(rounds)]
            ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
            low, ratio, high = statistics.quantiles((one / other for one, other in pairs), n=4)
            size = path.stat().st_size
            print(
                f"{form:6}  {len(state_dict)} tensors, {size / 2**20:.0f} MiB: ours {ours:.3f} s, "
                f"torch {theirs:.3f} s, ratio {ratio:.2f} (quartiles {low:.2f} to {high:.2f}), "
                f"peak memory {peak_memory(path) / size:.2f} times the file"
            )


if __name__ == "__main__":
    main()
