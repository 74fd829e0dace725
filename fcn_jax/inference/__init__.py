"""Segments pictures with a model."""

from fcn_jax.inference.prepare import inference_function, prepare
from fcn_jax.inference.result import ClassShare, Segmentation
from fcn_jax.inference.segmenter import Segmenter

__all__ = ["ClassShare", "Segmentation", "Segmenter", "inference_function", "prepare"]
