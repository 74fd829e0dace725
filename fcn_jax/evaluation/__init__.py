"""Scores of a model on a dataset."""

from fcn_jax.evaluation.binary import BinaryCounts, BinaryScores
from fcn_jax.evaluation.evaluator import Evaluator, check_categories
from fcn_jax.evaluation.metrics import ConfusionMatrix, Scores, format_scores
from fcn_jax.evaluation.sheet import write_sheet

__all__ = [
    "BinaryCounts",
    "BinaryScores",
    "ConfusionMatrix",
    "Evaluator",
    "Scores",
    "check_categories",
    "format_scores",
    "write_sheet",
]
