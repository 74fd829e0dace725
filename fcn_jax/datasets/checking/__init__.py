"""Finds what is wrong with a dataset: everything, or in seconds what a training run should know."""

from fcn_jax.datasets.checking.check import check_named, quick_check
from fcn_jax.datasets.checking.findings import Finding, Report, Tally

__all__ = ["Finding", "Report", "Tally", "check_named", "quick_check"]
