"""fcn-jax models: lists the models and their published weights."""

import argparse

from fcn_jax.weights import WeightsEnum, cache_folder
from fcn_jax.zoo import MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line, which has no arguments."""


def run(options: argparse.Namespace) -> int:
    """Prints a table: model, weights, parameters, published scores, preset, file."""
    backbones = {entry.weights_backbone: None for entry in MODELS.values()}
    rows = [("model", "weights", "parameters", "published scores", "transforms", "file")]
    for entry in MODELS.values():
        rows += _rows(entry.name, entry.weights)
    for weights in backbones:
        rows += _rows(_backbone_name(weights), weights)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{', '.join(map(_backbone_name, backbones))} fill only a backbone.")
    print(f"Cache: {cache_folder()} (set FCN_JAX_CACHE to choose another).")
    return 0


def _backbone_name(weights: type[WeightsEnum]) -> str:
    return weights.__name__.removesuffix("_Weights").lower()


def _rows(name: str, published: type[WeightsEnum]) -> list[tuple[str, ...]]:
    rows = []
    for weights in published:
        scores = [
            ", ".join(f"{key} {value}" for key, value in scores.items()) + f" ({dataset})"
            for dataset, scores in weights.meta["_metrics"].items()
        ]
        preset = type(weights.transforms()).__name__
        here = " (in the cache)" if (cache_folder() / weights.file_name).exists() else ""
        parameters = f"{weights.meta['num_params']:,}"
        rows.append((name, weights.name, parameters, "; ".join(scores), preset, weights.file_name + here))
    return rows
