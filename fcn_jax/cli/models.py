"""fcn-jax models: lists the models and their published weights."""

import argparse

from fcn_jax import list_models
from fcn_jax.weights import cache_folder, get_model_weights

BACKBONES = ("resnet50", "resnet101", "vgg16", "caffenet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line: there is nothing to choose."""


def run(options: argparse.Namespace) -> int:
    """Prints a table: model, weights, parameters, published scores, preset, file."""
    rows = [("model", "weights", "parameters", "published scores", "transforms", "file")]
    for name in (*list_models(), *BACKBONES):
        for weights in get_model_weights(name):
            published = [
                ", ".join(f"{key} {value}" for key, value in scores.items()) + f" ({dataset})"
                for dataset, scores in weights.meta["_metrics"].items()
            ]
            preset = type(weights.transforms()).__name__
            here = " (in the cache)" if (cache_folder() / weights.file_name).exists() else ""
            parameters = f"{weights.meta['num_params']:,}"
            file = weights.file_name + here
            rows.append((name, weights.name, parameters, "; ".join(published), preset, file))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{', '.join(BACKBONES)} fill a backbone only.")
    print(f"Cache: {cache_folder()} (set FCN_JAX_CACHE to choose another).")
    return 0
