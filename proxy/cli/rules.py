"""The rules as commands need them: loaded whole, or the command ends and says how to find out why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.cli.frame import Failure, Frame

if TYPE_CHECKING:
    from proxy.core.model import RuleSet
    from proxy.rules_file import Loaded


class StandIns(Mapping[str, str]):
    """An environment in which every variable is set: a command that only looks needs nobody's keys.

    The proxy may well run in another shell, or as another user, than the person who asks how it is.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known

    def __getitem__(self, name: str) -> str:
        return self._known.get(name) or f"unset-{name}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def load(frame: Frame, path: Path, *, keys: bool = True) -> RuleSet:
    """The rule set of a file without mistakes; ends the command otherwise. keys: calls follow, so keys must be set."""
    from proxy.rules_file import load_file

    loaded = load_file(path, frame.environ if keys else StandIns(frame.environ))
    if loaded.rules is not None:
        return loaded.rules
    if not loaded.readable:
        told = loaded.mistakes[0].in_language(frame.lang)
        raise Failure(f"{path}: {told.message}", hint=told.hint)
    count = len(loaded.mistakes)
    message = frame.say("error.rules_broken", path=path, count=count)
    raise Failure(message, hint=frame.say("error.rules_broken_hint", path=path))


def load_loosely(frame: Frame, path: Path) -> Loaded:
    """What the loader says, for commands that work without rules too; only an unreadable file ends them."""
    from proxy.rules_file import load_file

    loaded = load_file(path, StandIns(frame.environ))
    if not loaded.readable:
        told = loaded.mistakes[0].in_language(frame.lang)
        raise Failure(f"{path}: {told.message}", hint=told.hint)
    return loaded
