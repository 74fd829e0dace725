"""Checkpoint files in, named NumPy arrays out; and back."""

from weights_converter.errors import CheckpointError

__all__ = ["CheckpointError"]
