"""Errors that a user can cause: one base, and a kind for each sort of mistake.

Every kind is also one of Python's own (a ValueError, an OSError, ...), for callers who expect those. Errors
of a single room, such as `fcn_jax.images.ImageError`, are defined in that room.
"""

from weights_converter.errors import CheckpointError, FCNError, SettingError


class ArrayError(FCNError, ValueError):
    """An array has another shape or dtype than is wanted, or holds what it must not."""


class WrongTypeError(FCNError, TypeError):
    """An argument is of another type than is wanted."""


class MissingPackageError(FCNError, ImportError):
    """A package of one of the extras is not installed."""


class OutOfMemoryError(FCNError, MemoryError):
    """Something needs more memory than the device has."""


class BackendError(FCNError, RuntimeError):
    """JAX cannot start the platform that it is told to compute on."""


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
