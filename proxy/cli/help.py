"""Help pages: a sentence or two, usage, options, examples, in the reader's language and never wider than the screen.

Knows how wide a Hangul syllable is (two cells), which click's own wrapping does not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import click

from proxy.cli.frame import Frame
from proxy.core.text import LANGUAGES

MAX_WIDTH = 96


def cells(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Breaks a text at spaces into lines of at most `width` cells, each beginning with `indent`."""
    lines: list[str] = []
    line = indent
    for word in text.split():
        candidate = f"{line}{word}" if line == indent else f"{line} {word}"
        if cells(candidate) > width and line != indent:
            lines.append(line)
            candidate = indent + word
        line = candidate
    return [*lines, line] if line.strip() or not lines else lines


def two_columns(rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    """A name and its explanation a row; a long name stands on its own line."""
    left = min(max((cells(name) for name, _ in rows), default=0), 30) + 4
    lines: list[str] = []
    for name, text in rows:
        body = wrap(text, width, " " * left)
        if cells(name) + 4 > left:
            lines.append(f"  {name}")
        else:
            body[0] = f"  {name}".ljust(left) + body[0][left:]
        lines.extend(body)
    return lines


def page(frame: Frame, topic: str, usage: str, sections: Iterable[tuple[str, list[str]]], width: int) -> str:
    """The whole help page of a topic of the text catalogue."""
    lines = [f"{frame.say('help.usage')} {usage}", ""]
    for paragraph in frame.say(f"{topic}.about").split("\n\n"):
        lines += [*wrap(paragraph, width), ""]
    for title, rows in sections:
        lines += [title, *rows, ""]
    lines.append(frame.say("help.examples"))
    lines += [f"  {line}" if line else "" for line in frame.say(f"{topic}.examples").splitlines()]
    return "\n".join(lines)


def option_rows(frame: Frame, ctx: click.Context, params: Sequence[click.Parameter], width: int) -> list[str]:
    rows: list[tuple[str, str]] = []
    for param in params:
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record:
            rows.append((record[0], frame.say("opt.help") if record[0].endswith("--help") else record[1]))
    return two_columns(rows, width)


def page_width(ctx: click.Context) -> int:
    formatter = ctx.make_formatter()
    return min(MAX_WIDTH, formatter.width)


class Command(click.Command):
    """A command whose help is in the catalogue: `<name>.about`, `<name>.examples`, one text an option."""

    def __init__(self, name: str, frame: Frame, **attributes: Any) -> None:
        super().__init__(name, short_help=frame.say(f"{name}.summary"), **attributes)
        self.frame = frame
        self.topic = name
        self.params.append(language_option(frame))

    def usage_line(self, ctx: click.Context) -> str:
        pieces = [
            self.frame.say("help.options_placeholder") if piece == "[OPTIONS]" else piece
            for piece in self.collect_usage_pieces(ctx)
        ]
        return " ".join([ctx.command_path, *pieces])

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = page_width(ctx)
        options = option_rows(self.frame, ctx, self.get_params(ctx), width)
        sections = [(self.frame.say("help.options"), options)]
        formatter.write(page(self.frame, self.topic, self.usage_line(ctx), sections, width) + "\n")


def language_option(frame: Frame) -> click.Option:
    """`--lang` is read before the parser runs (the parser's own help depends on it); this declares and checks it."""
    return click.Option(
        ["--lang"], type=click.Choice(LANGUAGES), expose_value=False, help=frame.say("opt.lang"), metavar="en|ko"
    )


def option(frame: Frame, *names: str, text: str, **attributes: Any) -> click.Option:
    """An option whose help is the catalogue's `opt.<text>`."""
    return click.Option(list(names), help=frame.say(f"opt.{text}"), **attributes)
