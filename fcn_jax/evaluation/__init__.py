"""A model's predictions over a dataset, counted and scored."""

from fcn_jax.evaluation.evaluator import Evaluator, check_categories
from fcn_jax.evaluation.metrics import ConfusionMatrix, Scores, format_scores

__all__ = ["ConfusionMatrix", "Evaluator", "Scores", "check_categories", "format_scores"]
