"""What every command shares: the language it speaks, the environment it sees, its exit codes, and one way to fail.

Decides which language a person reads and whether colours are wanted. Must not know any single command, and imports
neither rich nor anything of the proxy that is slow to import: `spendgate --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import IO, TYPE_CHECKING, NoReturn, TextIO, cast

from proxy import settings
from proxy.core.text import say

if TYPE_CHECKING:
    from rich.console import Console

PROGRAM = "spendgate"
PLAIN_WIDTH = 100  # columns of a table that goes to a file or a pipe


class Exit(IntEnum):
    """Exit codes of every command but `run`, which ends with its child's (docs/cli.md)."""

    OK = 0
    FOUND = 1  # the command ran, and the answer is no: mistakes, a failed check, a file in the way
    USAGE = 2  # the command line, or a file it names, cannot be read
    UNREACHABLE = 3  # no store or no proxy answered
    INTERNAL = 70  # a fault of spendgate itself (EX_SOFTWARE)
    INTERRUPTED = 130  # Ctrl-C


class Failure(Exception):
    """An end that a person can do something about: one sentence, a hint, and the exit code."""

    def __init__(self, message: str, *, hint: str | None = None, code: int = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = int(code)


@dataclass(frozen=True, slots=True)
class Frame:
    """One run of the command line: `lang` is "en" or "ko", `environ` what settings.py read."""

    lang: str
    environ: Mapping[str, str]

    def say(self, key: str, **values: object) -> str:
        return say(f"cli.{key}", self.lang, **values)

    def fail(self, key: str, *, code: int = Exit.USAGE, hint: str | None = None, **values: object) -> NoReturn:
        """Ends the command with the sentence `key`; `hint` is the key of a second one with the same placeholders."""
        raise Failure(self.say(key, **values), hint=self.say(hint, **values) if hint else None, code=code)

    def settings(self, **flags: object) -> settings.Settings:
        """The settings of this run. A value that cannot be used ends the command."""
        try:
            return settings.load(self.environ, lang=self.lang, **flags)
        except settings.SettingsError as error:
            self.fail("error.setting", name=error.name, value=error.value, remedy=error.remedy(self.lang))

    def colours(self, stream: TextIO | None = None) -> bool:
        return colours(self.environ, stream or sys.stdout)

    def console(self, stream: TextIO | None = None, *, width: int | None = None) -> Console:
        """A rich console for `stream` (standard output): plain text when nobody looks at it."""
        return make_console(self.environ, stream or sys.stdout, width=width)

    def blocks(self, stream: TextIO | None = None) -> bool:
        """Whether a bar may be drawn with block characters: a terminal that speaks UTF-8. Else ASCII."""
        stream = stream or sys.stdout
        return stream.isatty() and "utf" in (getattr(stream, "encoding", None) or "ascii").lower()


def colours(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Colours: only on a terminal that can show them, and never against NO_COLOR (no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def columns(environ: Mapping[str, str], stream: TextIO) -> int | None:
    """How wide to write: COLUMNS, else PLAIN_WIDTH away from a terminal, else None (rich asks the terminal)."""
    asked = environ.get("COLUMNS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return None if stream.isatty() else PLAIN_WIDTH


def make_console(environ: Mapping[str, str], stream: TextIO, *, width: int | None = None) -> Console:
    from rich.console import Console

    coloured = colours(environ, stream)
    return Console(
        file=stream if stream.isatty() else cast("IO[str]", Trimmed(stream)),
        force_terminal=stream.isatty(),
        no_color=not coloured,
        color_system="auto" if coloured else None,
        width=width or columns(environ, stream),
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


class Trimmed:
    """A stream for files and pipes: lines without the blanks that fill a table's last column."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", "utf-8")

    def write(self, text: str) -> int:
        self._stream.write("\n".join(line.rstrip(" ") for line in text.split("\n")))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return False


def choose_language(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """`--lang` before any `--`, else SPENDGATE_LANG, else the locale of messages; English when nothing says Korean."""
    asked: str | None = None
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--lang" and index + 1 < len(arguments):
            asked = arguments[index + 1]
        elif argument.startswith("--lang="):
            asked = argument.removeprefix("--lang=")
    return settings.language(environ, asked)
