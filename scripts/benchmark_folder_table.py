"""Joins and formats what scripts/benchmark_folder.py has measured."""

import statistics

import numpy as np
from benchmark_facts import spread
from benchmark_folder_sides import SIDES

PASSES = ("first", "second")
PHASES = {"loading": "while loading", "first": "in the first pass", "second": "in the second pass"}
YARDSTICK = "torch eager"


def summarize(found: dict[str, list[dict]]) -> list[dict]:
    """Joins the rounds of each side: seconds, ratios, labels compared, and the other facts of the last round.

    Args:
      found: for each side the facts of its rounds, see `benchmark_folder_sides`, with the files of labels.
    """
    base = next(side for side in (YARDSTICK, *SIDES) if side in found)
    expected = found[base][-1]["labels"]["second"]
    rows = []
    for side, runs in found.items():
        row: dict = {"side": side, "base": base, "loading": [run["loading"]["seconds"] for run in runs]}
        for name in PASSES:
            seconds, theirs = ([run[name]["seconds"] for run in each] for each in (runs, found[base]))
            row[name] = seconds
            row[f"{name}_ratio"] = [ours / their for ours, their in zip(seconds, theirs, strict=True)]
        last = runs[-1]
        row["labels_equal"] = [equal_share(last["labels"][name], expected) for name in PASSES]
        rows.append(row | {"last": {name: last[name] for name in PHASES}})
    return rows


def equal_share(one: str, other: str) -> float:
    """Returns the share of equal bytes of two files of the same length."""
    return float((np.fromfile(one, np.uint8) == np.fromfile(other, np.uint8)).mean())


def table(rows: list[dict]) -> str:
    """Formats times and ratios, then memory and what was compiled."""
    base = f"/ {rows[0]['base']}"
    head = ["side", "loading s", "first pass s", base, "second pass s", base, "equal labels", "(second)"]
    lines = aligned([head, *map(times, rows)])
    for row in rows:
        lines.append(f"  {row['side']}: {memory(row['last'])}")
        if "compilations" in row["last"]["loading"]:
            lines.append(f"  {row['side']}: {compiled(row['last'])}")
    return "\n".join(lines)


def times(row: dict) -> list[str]:
    """Formats the cells of a side."""
    cells = [row["side"], f"{statistics.median(row['loading']):.1f}"]
    for name in PASSES:
        ratio = "" if row["side"] == row["base"] else spread(row[f"{name}_ratio"], 2)
        cells += [spread(row[name], 2), ratio]
    return cells + [f"{share:.4%}" for share in row["labels_equal"]]


def aligned(cells: list[list[str]]) -> list[str]:
    """Formats rows of cells as lines, with columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def memory(last: dict) -> str:
    """Formats the resident memory of a run."""
    first, second = last["first"], last["second"]
    held = (first["memory_early"], first["memory"], second["memory"])
    early, whole, again = (f"{each / 2**20:.0f} MiB" for each in held)
    count = first["early"]
    return f"memory {early} after {count} pictures, {whole} after the first pass, {again} after the second"


def compiled(last: dict) -> str:
    """Formats what a run of fcn_jax has compiled."""
    parts = []
    for name, where in PHASES.items():
        facts = last[name]
        cached = f" ({facts['cached']} from the cache)" if facts["cached"] else ""
        parts.append(f"{facts['compilations']}{cached} {where}, {facts['compiling']:.1f} s")
    total = sum(last[name]["compilations"] for name in PHASES)
    return f"{total} compilations: {'; '.join(parts)}. {last['second']['programs']} programs kept"
