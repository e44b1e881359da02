"""`python -m proxy` and the `spendgate` command: hand the arguments and the environment to the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Entry point of the installed command; the return value is the exit code."""
    from proxy.cli.app import main as run_command_line
    from proxy.settings import environ

    return run_command_line(sys.argv[1:], environ())


if __name__ == "__main__":
    sys.exit(main())
