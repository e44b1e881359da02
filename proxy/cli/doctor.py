"""`spendgate doctor`: does everything add up, is the store safe, and what to do where not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option, wrap
from proxy.cli.place import opened

if TYPE_CHECKING:
    from proxy.settings import Settings
    from proxy.state.doctor import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def command(frame: Frame) -> click.Command:
    def doctor(as_json: bool, **flags: Any) -> int:
        settings = frame.settings(**flags)
        findings = _examine(frame, settings)
        if as_json:
            click.echo(json.dumps(as_document(frame, findings), ensure_ascii=False, indent=2))
        else:
            _show(frame, findings)
        if any(finding.key == "store_unreachable" for finding in findings):
            return Exit.UNREACHABLE
        return Exit.FOUND if any(finding.severity == "fail" for finding in findings) else Exit.OK

    return Command(
        "doctor",
        frame,
        callback=doctor,
        params=[
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


def _examine(frame: Frame, settings: Settings) -> Sequence[Finding]:
    from proxy.cli.rules import StandIns
    from proxy.rules_file import load_file
    from proxy.state import doctor
    from proxy.state.keys import Keys

    loaded = load_file(settings.rules, StandIns(frame.environ))
    told = [mistake.in_language(frame.lang) for mistake in loaded.mistakes]
    mistakes = [f"{one.line}:{one.column}: {one.path + ': ' if one.path else ''}{one.message}" for one in told]
    with opened(frame, settings) as place:
        if place.url is None:
            frame.fail("doctor.nothing", where=place.where, code=Exit.UNREACHABLE)
        return asyncio.run(
            doctor.run(
                place.url,
                Keys(settings.tenant),
                clock=lambda: time.time_ns() // 1_000_000,
                rules_file=str(settings.rules),
                mistakes=mistakes,
            )
        )


def as_document(frame: Frame, findings: Sequence[Finding]) -> dict[str, Any]:
    """{healthy, findings: [{check, severity, text, remedy, values}]}; severity "ok" | "warn" | "fail"."""
    return {
        "healthy": all(finding.severity != "fail" for finding in findings),
        "findings": [
            {
                "check": finding.key,
                "severity": finding.severity.value,
                "text": finding.text(frame.lang),
                "remedy": finding.remedy(frame.lang),
                "values": dict(finding.values),
            }
            for finding in findings
        ],
    }


def _show(frame: Frame, findings: Sequence[Finding]) -> None:
    from rich.text import Text

    from proxy.cli.help import cells

    console = frame.console()
    width = min(console.width, 96)
    labels = {severity: frame.say(f"doctor.{severity}") for severity in _COLOURS}
    indent = max(cells(label) for label in labels.values()) + 4
    console.print()
    for finding in findings:
        label = labels[finding.severity.value]
        lines = wrap(finding.text(frame.lang), width, " " * indent)
        first = Text.assemble(
            "  ",
            (label, f"bold {_COLOURS[finding.severity.value]}"),
            " " * (indent - 2 - cells(label)),
            lines[0].strip(),
        )
        console.print(first, soft_wrap=True)
        for line in lines[1:]:
            console.print(line, soft_wrap=True)
        remedy = finding.remedy(frame.lang)
        for line in wrap(remedy, width, " " * indent) if remedy else []:
            console.print(line, style=_COLOURS[finding.severity.value], soft_wrap=True)
    console.print()
    counts = {severity: sum(one.severity == severity for one in findings) for severity in _COLOURS}
    key = "doctor.failed" if counts["fail"] else "doctor.warnings" if counts["warn"] else "doctor.healthy"
    colour = "red" if counts["fail"] else "yellow" if counts["warn"] else "green"
    console.print("  " + frame.say(key, failures=counts["fail"], warnings=counts["warn"]), style=f"bold {colour}")
    console.print()
