"""The command `fcn-jax`; each subcommand has a module."""

from fcn_jax.cli.main import main

__all__ = ["main"]
