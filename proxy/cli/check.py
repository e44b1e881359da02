"""`spendgate check`: every mistake of a rules file, each with its place, the line itself and what would be right."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, cells, option

if TYPE_CHECKING:
    from proxy.core.model import RuleSet
    from proxy.rules_file import Loaded, Mistake

LIMIT_BYTES = 1_100_000  # a little over what the loader takes: it says itself what is too large
EXCERPT_WIDTH = 100


def command(frame: Frame) -> click.Command:
    def check(file: str | None, as_json: bool) -> int:
        path = file or frame.settings().rules.as_posix()
        loaded, text = _load(frame, path)
        if as_json:
            click.echo(as_document(frame, loaded, path))
        else:
            show(frame, loaded, path, text)
        if not loaded.readable:
            return Exit.USAGE
        return Exit.FOUND if loaded.mistakes else Exit.OK

    return Command(
        "check",
        frame,
        callback=check,
        params=[
            click.Argument(["file"], required=False),
            option(frame, "--json", "as_json", text="json", is_flag=True),
        ],
    )


def _load(frame: Frame, path: str) -> tuple[Loaded, bytes]:
    """What the loader says of a file, or of standard input for "-", and the text for the excerpts."""
    from pathlib import Path

    from proxy.rules_file import load_file, load_text

    if path == "-":
        text = sys.stdin.buffer.read(LIMIT_BYTES)
        return load_text(text, "<stdin>", frame.environ), text
    loaded = load_file(path, frame.environ)
    if not loaded.readable or not (loaded.mistakes or loaded.warnings):
        return loaded, b""
    with Path(path).open("rb") as file:
        return loaded, file.read(LIMIT_BYTES)


def as_document(frame: Frame, loaded: Loaded, source: str) -> str:
    """The report as JSON: {file, ok, hash, mistakes, warnings, intercepts, automatic}, one object a mistake."""
    rules = loaded.rules
    document = {
        "file": source,
        "ok": not loaded.mistakes,
        "hash": rules.digest if rules else None,
        "mistakes": [_as_json(mistake.in_language(frame.lang)) for mistake in loaded.mistakes],
        "warnings": [_as_json(mistake.in_language(frame.lang)) for mistake in loaded.warnings],
        "intercepts": _intercepts(rules) if rules else [],
        "automatic": {one.value: list(actions) for one, actions in rules.emergency.automatic.items()} if rules else {},
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _intercepts(rules: RuleSet) -> list[dict[str, object]]:
    from proxy.core import interception

    return [
        {"api": api.name, "hosts": list(interception.hosts(api)), "on_pinned": api.on_pinned.value}
        for api in rules.apis
        if api.intercept
    ]


def _as_json(mistake: Mistake) -> dict[str, object]:
    return {
        "line": mistake.line,
        "column": mistake.column,
        "path": mistake.path,
        "message": mistake.message,
        "hint": mistake.hint,
        "severity": mistake.severity,
    }


def show(frame: Frame, loaded: Loaded, source: str, text: bytes) -> None:
    coloured = frame.colours()
    lines = text.decode("utf-8", "replace").splitlines()
    if not loaded.readable:
        for mistake in loaded.mistakes:
            told = mistake.in_language(frame.lang)
            click.echo(f"spendgate: {source}: {told.message}", err=True)
            if told.hint:
                click.echo(told.hint, err=True)
        return
    for mistake in sorted((*loaded.mistakes, *loaded.warnings), key=lambda one: (one.line, one.column)):
        told = mistake.in_language(frame.lang)
        click.echo(explain(frame, told, lines, coloured=coloured), color=coloured)
    if loaded.mistakes:
        sentence = frame.say(
            "check.mistakes", source=source, mistakes=len(loaded.mistakes), warnings=len(loaded.warnings)
        )
        click.echo(click.style(sentence, fg="red", bold=True), color=coloured)
        return
    if loaded.warnings:
        click.echo(click.style(frame.say("check.warnings", warnings=len(loaded.warnings)), fg="yellow"), color=coloured)
    rules = loaded.rules
    if rules is not None:
        sentence = frame.say(
            "check.clean",
            source=source,
            apis=len(rules.apis),
            rules=sum(len(api.rules) for api in rules.apis),
            budgets=len(rules.budgets),
            digest=rules.digest,
        )
        click.echo(click.style(sentence, fg="green"), color=coloured)
        for line in (*interceptions(frame, rules), *automatic(frame, rules)):
            click.echo(line)


def interceptions(frame: Frame, rules: RuleSet) -> list[str]:
    """What of HTTPS these rules see into, for whoever must agree to it."""
    from proxy.core import interception, match
    from proxy.core.model import OnPinned, Outbound

    lines: list[str] = []
    for api in rules.apis:
        hosts = interception.hosts(api)
        if not hosts:
            continue
        lines.append(frame.say("check.intercepts", hosts=", ".join(hosts), api=api.name))
        rule = match.match(api, Outbound("CONNECT", "connect", hosts[0], api.port, ""))
        if api.on_pinned is OnPinned.TUNNEL and rule is not None:
            lines.append(f"  {frame.say('check.intercept_pinned', rule=rule.id)}")
    return lines


def automatic(frame: Frame, rules: RuleSet) -> list[str]:
    """What these rules let the leader do about incidents without asking, for whoever must agree to it."""
    from proxy.core.text import say

    emergency, minutes = rules.emergency, rules.emergency.lasts_ms // 60_000
    lines = []
    for grade, actions in emergency.automatic.items():
        level, names = say(f"incident.level.{grade.value}", frame.lang), ", ".join(one.value for one in actions)
        lines.append(frame.say("check.automatic", level=level, actions=names, minutes=minutes))
    if lines and emergency.spare:
        lines.append(f"  {frame.say('check.automatic_spared', spare=', '.join(sorted(emergency.spare)))}")
    return lines


def explain(frame: Frame, mistake: Mistake, lines: Sequence[str], *, coloured: bool) -> str:
    """One mistake: its place and sentence, the source line with a caret, and the hint."""
    warning = mistake.severity == "warning"
    where = f"{mistake.source}:{mistake.line}:{mistake.column}:"
    what = f"{mistake.path}: " if mistake.path else ""
    label = frame.say("check.warning") if warning else ""
    if coloured:
        where = click.style(where, bold=True)
        label = click.style(label, fg="yellow")
    parts = [f"{where} {label}{what}{mistake.message}"]
    if 1 <= mistake.line <= len(lines):
        parts += _excerpt(lines[mistake.line - 1], mistake, coloured=coloured, warning=warning)
    if mistake.hint:
        parts.append(f"        {mistake.hint}")
    return "\n".join(parts) + "\n"


def _excerpt(line: str, mistake: Mistake, *, coloured: bool, warning: bool) -> list[str]:
    number = str(mistake.line).rjust(5)
    line = "".join(character if character.isprintable() else " " for character in line)
    if not line.strip():
        return []
    start = max(0, mistake.column - 1 - EXCERPT_WIDTH // 2) if len(line) > EXCERPT_WIDTH else 0
    shown = line[start : start + EXCERPT_WIDTH]
    caret = "^"
    if coloured:
        caret = click.style(caret, fg="yellow" if warning else "red", bold=True)
    return [f"{number} | {shown}", f"{' ' * 5} | {' ' * cells(line[start : mistake.column - 1])}{caret}"]
