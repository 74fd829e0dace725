"""The notebooks run from top to bottom, offline, each in an empty folder."""

import contextlib
import io
import json
import traceback

import pytest

from fcn_jax.cli.train import quiet_run
from tests.sources import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    if any("import torch" in "".join(cell["source"]) for cell in cells(path)):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FCN_JAX_OFFLINE", "1")
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells(path)):
        if cell["cell_type"] != "code":
            continue
        try:
            with contextlib.redirect_stdout(io.StringIO()), quiet_run():
                exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
        except Exception:
            pytest.fail(f"cell {number} of {path.name} fails:\n{traceback.format_exc()}")


def test_notebooks_hold_no_outputs():
    assert len(NOTEBOOKS) == 2
    for path in NOTEBOOKS:
        for cell in cells(path):
            assert not cell.get("outputs"), path.name
            assert cell.get("execution_count") is None, path.name
