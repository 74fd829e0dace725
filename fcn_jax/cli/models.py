"""fcn-jax models: lists the models and their published weights."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line: there is nothing to choose."""


def run(options: argparse.Namespace) -> int:
    """Prints a table: model, weights, parameters, published scores, preset, file."""
    from fcn_jax.models import list_models
    from fcn_jax.weights import cache_folder, get_model_weights

    rows = [("model", "weights", "parameters", "published scores", "transforms", "file")]
    backbones = ["resnet50", "resnet101"]
    for name in (*list_models(), *backbones):
        for weights in get_model_weights(name):
            (dataset, scores), *_ = weights.meta["_metrics"].items()
            scores = ", ".join(f"{key} {value}" for key, value in scores.items())
            preset = type(weights.transforms()).__name__
            here = " (in the cache)" if (cache_folder() / weights.file_name).exists() else ""
            parameters = f"{weights.meta['num_params']:,}"
            rows.append(
                (name, weights.name, parameters, f"{scores} ({dataset})", preset, weights.file_name + here)
            )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\nCache: {cache_folder()} (set FCN_JAX_CACHE to choose another). resnet* fill a backbone only.")
    return 0
