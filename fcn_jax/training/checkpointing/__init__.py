"""Checkpoints of a training run: saved in the background, checked when read."""
