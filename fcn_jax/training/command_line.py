"""Settings from the command line, through tyro."""

import argparse
import dataclasses
from collections.abc import Sequence

from fcn_jax.errors import MissingPackageError, SettingError
from fcn_jax.training.config import Config
from fcn_jax.training.recipes import RECIPES, recipe

OPTIONS = {field.name: "--" + field.name.replace("_", "-") for field in dataclasses.fields(Config)}
"""{setting: its option}, for the hints of errors."""


def parse_config(arguments: Sequence[str], *, program: str | None = None, description: str = "") -> Config:
    """Reads `--recipe NAME`, then the other settings. The recipe sets their defaults.

    `--epochs` replaces a recipe's steps. A wrong command line, or `--help`, ends the program as usual.

    Args:
      program: the program's name in messages; the script's name if not given.

    Raises:
      MissingPackageError: tyro is not installed.
    """
    try:
        import tyro
    except ImportError as error:
        raise MissingPackageError(
            "training needs tyro, which is not installed", hint="pip install 'fcn_jax[train]'"
        ) from error

    names = argparse.ArgumentParser(
        program, usage="%(prog)s [OPTIONS], see --help", add_help=False, allow_abbrev=False
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
        return tyro.cli(Config, prog=program, default=default, args=arguments, description=description)
    except SettingError as error:
        names.error(error.words(OPTIONS))
