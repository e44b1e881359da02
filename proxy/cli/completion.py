"""`spendgate completion`: the script with which a shell asks this program what could come next."""

from __future__ import annotations

import click

from proxy.cli.frame import PROGRAM, Frame
from proxy.cli.help import Command

SHELLS = ("bash", "zsh", "fish")


def command(frame: Frame) -> click.Command:
    def completion(shell: str) -> None:
        from click.shell_completion import get_completion_class

        root = click.get_current_context().find_root().command
        known = get_completion_class(shell)
        assert known is not None, shell  # noqa: S101 - click.Choice admits only shells that click knows
        script = known(root, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")
        # Not .source(): that starts a bash to ask its version, and the script is wanted elsewhere too.
        click.echo(script.source_template % script.source_vars())

    return Command(
        "completion", frame, callback=completion, params=[click.Argument(["shell"], type=click.Choice(SHELLS))]
    )
