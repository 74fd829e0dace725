"""Training: the run, its settings, the loss, optimizers, the compiled step, devices and checkpoints.

    from fcn_jax.training import Run, recipe

    Run(recipe("small-data")).train()

`scripts/train.py` shows a run step by step. Needs `pip install 'fcn_jax[train]'`. The names below are
imported at their first use, since they import large packages.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn_jax.training.config import Config
    from fcn_jax.training.output import OutputError
    from fcn_jax.training.recipes import recipe
    from fcn_jax.training.run import DivergedError, Run

_MODULES = {
    "Config": "config",
    "DivergedError": "run",
    "OutputError": "output",
    "Run": "run",
    "recipe": "recipes",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = ["Config", "DivergedError", "OutputError", "Run", "recipe"]
