"""Starts the platform that JAX computes on."""

import os

import jax

from fcn_jax.errors import BackendError


def start_backend() -> None:
    """Starts the platform that JAX computes on. Call it first, so that it fails early.

    Raises:
      BackendError: the platform cannot start; the message names the setting.
    """
    try:
        jax.devices()
    except Exception as error:  # a missing plugin raises an AssertionError without a message
        asked = os.environ.get("JAX_PLATFORMS", "")
        said = str(error).partition("\n")[0].partition(" (set JAX_PLATFORMS=")[0].rstrip(".")
        where = f" on {asked!r}, which JAX_PLATFORMS asks for" if asked else ""
        raise BackendError(
            f"JAX cannot start{where}: {said or 'it gives no reason'}",
            hint="unset JAX_PLATFORMS to use the best platform of this machine, or set it to cpu",
        ) from error
