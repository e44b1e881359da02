"""`python -m proxy` and the `spendgate` command: hand the arguments and the environment to the command line."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Entry point of the installed command; the return value is the exit code."""
    # What a start makes lives as long as the process: looking among it for garbage finds none, at a tenth of its time.
    gc.set_threshold(50_000, 20, 100)
    from proxy.cli.app import main as run_command_line
    from proxy.settings import environ

    return run_command_line(sys.argv[1:], environ())


if __name__ == "__main__":
    sys.exit(main())
