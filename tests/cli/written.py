"""What the tests of `fcn-jax segment` find in the folder out/."""

import json
from pathlib import Path


def read(name="summary.json"):
    return json.loads(Path("out", name).read_text(encoding="utf-8"))


def sources(name="summary.json"):
    return [entry["source"] for entry in read(name)["images"]]


def files(folder="out"):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
