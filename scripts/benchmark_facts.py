"""What the benchmarks print beside their figures: hardware, versions, load average, quartiles."""

import os
import platform
import statistics
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("jax", "jaxlib", "flax", "torch", "torchvision", "onnxruntime", "openvino")


def machine(gpu: str | None = None) -> dict:
    """Returns hardware, versions and load average; `gpu` is the name of the GPU that computes."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "hardware": gpu or cpu_name(),
        "python": platform.python_version(),
        "versions": versions,
        "load": os.getloadavg(),
    }


def headline(facts: dict, rounds: int) -> str:
    """Formats the facts of `machine` in one line."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['hardware']}; Python {facts['python']}, {packages}; load average {facts['load'][0]:.1f}; "
        f"{rounds} rounds: median (quartiles)"
    )


def cpu_name() -> str:
    """Returns the processor's name and the number of cores."""
    names = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {cores()} cores"


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def spread(values: list[float], digits: int) -> str:
    """Formats the median, with the quartiles if there is more than one value."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
