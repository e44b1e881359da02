"""`spendgate init`: a commented rules.yaml and its schema, with no question asked and nothing overwritten."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path

import click

from proxy.cli import schema
from proxy.cli.files import write
from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option

SCHEMA_NAME = "rules.schema.json"


def template(language: str) -> str:
    """The commented rules in one of the two languages; both say the same to the loader."""
    return resources.files("proxy.cli").joinpath(f"rules.template.{language}.yaml").read_text(encoding="utf-8")


def command(frame: Frame) -> click.Command:
    def init(file: str | None, force: bool) -> None:
        path = Path(file).expanduser() if file else frame.settings().rules
        beside = path.with_name(SCHEMA_NAME)
        if path.exists() and not force:
            frame.fail("init.exists", path=path, hint="init.exists_hint", code=Exit.FOUND)
        document = schema.text()
        write(frame, path, template(frame.lang))
        write(frame, beside, document)
        click.echo(frame.say("init.written", path=path, schema=beside))
        named = "" if path == Path("rules.yaml") else f" {shlex.quote(str(path))}"
        flag = f" --rules{named}" if named else ""
        click.echo(frame.say("init.next", check=f"spendgate check{named}", serve=f"spendgate serve{flag}"))

    return Command(
        "init",
        frame,
        callback=init,
        params=[
            click.Argument(["file"], required=False),
            option(frame, "--force", text="force", is_flag=True),
        ],
    )
