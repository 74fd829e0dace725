"""How much memory a program needs on a CPU, and how much there is.

XLA's CPU client ends the whole process when it cannot allocate, so the check comes before a program runs.
"""

from pathlib import Path

import jax

try:
    import resource
except ImportError:  # Windows
    resource = None

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
STATM = Path("/proc/self/statm")


def check_memory(program: jax.stages.Compiled) -> None:
    """Raises before a program runs that would need more memory than this process can get.

    Args:
      program: compiled for a CPU.

    Raises:
      jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED, as XLA says it on an accelerator.
    """
    needs = program.memory_analysis()
    needed = needs.temp_size_in_bytes + needs.output_size_in_bytes if needs is not None else 0
    free = available_memory()
    if free is not None and needed > free:
        raise jax.errors.JaxRuntimeError(
            f"RESOURCE_EXHAUSTED: Out of memory: it takes {needed / 2**20:,.0f} MiB, "
            f"this process can get {free / 2**20:,.0f} MiB"
        )


def available_memory() -> int | None:
    """Returns the bytes that this process can still get; None where the system does not tell.

    It is the least of what the machine has free, swap included, what the process's control group has left,
    and what its own limit (`ulimit -v`) leaves.
    """
    free = []
    if MEMINFO.exists():
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        free.append(
            sum(int(lines.get(name, "0 kB").split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
        )
    most, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if most.exists() and used.exists() and most.read_text().strip() != "max":
        free.append(int(most.read_text()) - int(used.read_text()))
    if resource is not None and STATM.exists():
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            free.append(limit - int(STATM.read_text().split()[0]) * resource.getpagesize())
    return min(free) if free else None
