"""`spendgate demo`: the whole story in a minute, without any account."""

from __future__ import annotations

import click

from proxy.cli.frame import Frame
from proxy.cli.help import Command, option


def command(frame: Frame) -> click.Command:
    def demo(fast: bool) -> int:
        from proxy.demo.driver import perform

        return perform(frame, fast=fast)

    return Command("demo", frame, callback=demo, params=[option(frame, "--fast", text="fast", is_flag=True)])
