"""Settings from the command line, through tyro."""

import argparse
import dataclasses
from collections.abc import Sequence

from fcn_jax.training.config import RECIPES, Config, recipe


def parse_config(arguments: Sequence[str], description: str = "") -> Config:
    """Reads `--recipe NAME`, then the other settings, whose defaults are that recipe's.

    `--epochs` takes the place of a recipe's steps. A command line that makes no sense, or `--help`, ends the
    program as usual.

    Raises:
      ImportError: tyro is not installed.
    """
    try:
        import tyro
    except ImportError as error:
        raise ImportError("training needs tyro: pip install 'fcn_jax[train]'") from error

    names = argparse.ArgumentParser(
        usage="%(prog)s [OPTIONS], see --help", add_help=False, allow_abbrev=False
    )
    names.add_argument("--recipe", choices=RECIPES, default=Config.recipe)
    names.add_argument("--model")
    length = names.add_mutually_exclusive_group()
    length.add_argument("--steps")
    length.add_argument("--epochs")
    named, _ = names.parse_known_args(arguments)
    try:
        default = recipe(named.recipe, named.model)
        if named.epochs is not None:
            default = dataclasses.replace(default, steps=None)
        return tyro.cli(Config, default=default, args=arguments, description=description)
    except ValueError as error:
        names.error(str(error))
