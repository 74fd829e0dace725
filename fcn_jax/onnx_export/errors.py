"""Why a model cannot be written as ONNX, and which package is missing."""

import importlib.util

from fcn_jax.errors import FCNError, MissingPackageError


class OnnxError(FCNError, ValueError):
    """A model cannot be written as ONNX, or the written file does not compute what the model does."""


def require(*packages: str) -> None:
    """Raises MissingPackageError unless the packages are installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingPackageError(
            f"writing ONNX files needs {' and '.join(missing)}", hint="pip install 'fcn_jax[onnx]'"
        )
