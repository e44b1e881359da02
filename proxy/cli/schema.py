"""`spendgate schema`: the JSON Schema of rules.yaml on standard output."""

from __future__ import annotations

import json

import click

from proxy.cli.frame import Frame
from proxy.cli.help import Command


def text() -> str:
    """The schema as it is printed, and as `init` writes it."""
    from proxy.rules_schema import json_schema

    return json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"


def command(frame: Frame) -> click.Command:
    def schema() -> None:
        click.echo(text(), nl=False)

    return Command("schema", frame, callback=schema)
