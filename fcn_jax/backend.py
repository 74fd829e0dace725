"""Starting the platform that JAX computes on."""

import os

import jax

from fcn_jax.errors import BackendError


def start_backend() -> None:
    """Starts the platform that JAX computes on. Called before anything long, it fails early.

    Raises:
      BackendError: it cannot be started; the message names the setting.
    """
    try:
        jax.devices()
    except Exception as error:  # for a missing plugin even an AssertionError without words
        asked = os.environ.get("JAX_PLATFORMS", "")
        said = str(error).partition("\n")[0].partition(" (set JAX_PLATFORMS=")[0].rstrip(".")
        where = f" on {asked!r}, which JAX_PLATFORMS asks for" if asked else ""
        raise BackendError(
            f"JAX cannot start{where}: {said or 'it does not say why'}",
            hint="unset JAX_PLATFORMS to compute on the best that this machine has, or set it to cpu",
        ) from error
