"""`spendgate demo`: the whole story in a minute, without any account."""

from __future__ import annotations

import sys

import click

from proxy.cli.frame import Frame
from proxy.cli.help import Command, option


def command(frame: Frame) -> click.Command:
    def demo(fast: bool, dashboard: bool | None) -> int:
        from proxy.demo.driver import perform

        shown = sys.stdout.isatty() and not fast if dashboard is None else dashboard
        return perform(frame, fast=fast, dashboard=shown)

    params = [
        option(frame, "--fast", text="fast", is_flag=True),
        option(frame, "--dashboard/--no-dashboard", "dashboard", text="dashboard", default=None),
    ]
    return Command("demo", frame, callback=demo, params=params)
