"""The entry point of `fcn-jax`: it handles Ctrl-C also while JAX is being imported."""

import sys


def main() -> int:
    """Runs the command line; returns the exit status, see `fcn_jax.cli.main`."""
    try:
        from fcn_jax.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("fcn-jax: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
