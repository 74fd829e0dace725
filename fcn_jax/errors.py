"""Errors that a user can cause: one base, and a kind for each sort of mistake.

Every kind also derives from a built-in error (ValueError, OSError, ...), for callers who catch those. Errors
of one module only, such as `fcn_jax.images.ImageError`, are defined there.
"""

from weights_converter.errors import CheckpointError, FCNError, SettingError


class ArrayError(FCNError, ValueError):
    """An array has a wrong shape or dtype, or holds values that it must not."""


class WrongTypeError(FCNError, TypeError):
    """An argument has a wrong type."""


class MissingPackageError(FCNError, ImportError):
    """An optional package is not installed."""


class OutOfMemoryError(FCNError, MemoryError):
    """A computation needs more memory than the device has."""


class BackendError(FCNError, RuntimeError):
    """JAX cannot start the platform that it should compute on."""


__all__ = [
    "ArrayError",
    "BackendError",
    "CheckpointError",
    "FCNError",
    "MissingPackageError",
    "OutOfMemoryError",
    "SettingError",
    "WrongTypeError",
]
