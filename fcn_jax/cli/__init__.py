"""The command `fcn-jax`: one module for each subcommand."""

from fcn_jax.cli.main import main

__all__ = ["main"]
