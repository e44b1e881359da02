"""`spendgate serve`: flags into settings, settings into the application. Everything else is the application's."""

from __future__ import annotations

import click

from proxy.cli.frame import Frame
from proxy.cli.help import Command, option


def command(frame: Frame) -> click.Command:
    def serve(**flags: object) -> int:
        settings = frame.settings(**flags)
        from proxy.app import run
        from proxy.cli.startpage import render

        return run(settings, lambda facts: click.echo(render(facts, settings.language)))

    return Command(
        "serve",
        frame,
        callback=serve,
        params=[
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--listen", text="listen", metavar="HOST:PORT"),
            option(frame, "--admin", text="admin", metavar="HOST:PORT"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
            option(frame, "--store-tcp-port", text="store_tcp_port", metavar="PORT"),
            option(frame, "--workers", text="workers", metavar="N"),
            option(frame, "--log-format", text="log_format", metavar="json|console"),
            option(frame, "--log-level", text="log_level", metavar="LEVEL"),
            option(frame, "--lease", text="lease", metavar="SECONDS"),
            option(frame, "--drain", text="drain", metavar="SECONDS"),
        ],
    )
