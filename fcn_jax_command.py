"""The entry point of `fcn-jax`: it handles Ctrl-C also while JAX is being imported."""

import os
import signal
import sys


def main() -> int:
    """Runs the command line; returns the exit status, see `fcn_jax.cli.main`.

    While modules are imported, and when the work is done, Ctrl-C ends the process at once: an exception could
    be lost in a callback of JAX, and nothing is left to tidy up.
    """
    listening = signal.getsignal(signal.SIGINT) == signal.default_int_handler  # not so in the background
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115

    def ctrl_c(handler) -> None:
        if listening:
            signal.signal(signal.SIGINT, handler)

    ctrl_c(_leave)
    try:
        from fcn_jax.cli import main as run

        return run(ready=lambda: ctrl_c(signal.default_int_handler))
    except KeyboardInterrupt:
        print("fcn-jax: interrupted", file=sys.stderr)
        return 130
    finally:
        ctrl_c(_leave)


def _leave(number: int, frame: object) -> None:
    os.write(2, b"fcn-jax: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
