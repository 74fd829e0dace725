"""Checkpoint families as data."""
