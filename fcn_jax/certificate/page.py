"""Writes a certificate beside the weights: JSON for programs, a page for people."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weights_converter.files import replacing

_PAGE = """# Certificate of conversion: {result}

{verdict}

| | file | bytes | SHA-256 |
|---|---|---|---|
| source | `{source}` | {source_bytes:,} | `{source_digest}` |
| result | `{result}` | {result_bytes:,} | `{result_digest}` |

Network: `{network}`

## The function

{comparison}

## Tensors

{used} used, {aside} set aside, {counters} counters of batch norm kept apart. {equal}

| in the source | here | shape | dtype |
|---|---|---|---|
{rows}

{set_aside}

## Versions

{versions}
"""


def certificate_paths(target: str | os.PathLike) -> tuple[Path, Path]:
    """Returns the two files beside a file of weights: <stem>.certificate.json and <stem>.certificate.md."""
    path = Path(target)
    return path.with_name(f"{path.stem}.certificate.json"), path.with_name(f"{path.stem}.certificate.md")


def write_certificate(record: Mapping[str, Any], target: str | os.PathLike) -> tuple[Path, Path]:
    """Writes a record of `certify` beside the converted file, as JSON and as a Markdown page.

    Returns:
      The two paths.

    Raises:
      OSError: a file cannot be written.
    """
    paths = certificate_paths(target)
    for path, text in zip(paths, (json.dumps(record, indent=1) + "\n", page(record)), strict=True):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


def page(record: Mapping[str, Any]) -> str:
    """Words a record as Markdown."""
    source, result, tensors = record["source"], record["result"], record["tensors"]
    rows = [
        f"| `{each['source']}` | `{each['ours']}` | {' x '.join(map(str, each['shape']))} | {each['dtype']} |"
        for each in tensors["used"]
    ]
    aside = [f"- `{name}`: {why}" for name, why in tensors["set_aside"].items()]
    return _PAGE.format(
        source=source["file"],
        source_bytes=source["bytes"],
        source_digest=source["sha256"],
        result=result["file"],
        result_bytes=result["bytes"],
        result_digest=result["sha256"],
        network=json.dumps(record["network"]),
        verdict=f"**{verdict(record)}**",
        comparison=_comparison(record["comparison"]),
        used=len(rows),
        aside=len(aside),
        counters=tensors["counters"],
        equal="All numbers are equal, bit for bit." if tensors["equal"] else "**Numbers differ.**",
        rows="\n".join(rows),
        set_aside="\n".join(["Set aside:", "", *aside]) if aside else "Nothing was set aside.",
        versions=", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    )


def is_good(record: Mapping[str, Any]) -> bool:
    """Whether the numbers are equal, and the function too if it was compared."""
    return record["tensors"]["equal"] and record["comparison"].get("same", True)


def verdict(record: Mapping[str, Any]) -> str:
    """Says in a sentence what was found."""
    comparison = record["comparison"]
    if not record["tensors"]["equal"]:
        return "Not equal: the two files hold different numbers."
    if not comparison["done"]:
        return f"The same numbers. The function was not compared: {comparison['why']}."
    if comparison["same"]:
        return "The same numbers and the same function."
    return "The same numbers, but not the same function."


def _comparison(comparison: Mapping[str, Any]) -> str:
    if not comparison["done"]:
        return f"Not compared: {comparison['why']}."
    rows = [
        f"| {' x '.join(map(str, each['shape']))} | {each['seed']} | {head} | {error:.1e} |"
        for each in comparison["inputs"]
        for head, error in each["errors"].items()
    ]
    return "\n".join(
        [
            f"Against {comparison['against']}, in {comparison['dtype']}. Inputs are "
            "`numpy.random.default_rng(seed).standard_normal(shape)`, channels last; errors are the largest "
            f"absolute difference over the largest absolute logit; bound {comparison['bound']:.0e}.",
            "",
            "| input | seed | head | error |",
            "|---|---|---|---|",
            *rows,
        ]
    )
