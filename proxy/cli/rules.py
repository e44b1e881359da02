"""The rules as commands need them: loaded whole, or the command ends and says how to find out why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proxy.cli.frame import Exit, Failure, Frame

if TYPE_CHECKING:
    from proxy.core.model import RuleSet


def load(frame: Frame, path: Path) -> RuleSet:
    """The rule set of a file without mistakes. Ends the command otherwise."""
    from proxy.rules_file import load_file

    loaded = load_file(path, frame.environ)
    if loaded.rules is not None:
        return loaded.rules
    if not loaded.readable:
        told = loaded.mistakes[0].in_language(frame.lang)
        raise Failure(f"{path}: {told.message}", hint=told.hint)
    count = len(loaded.mistakes)
    frame.fail("error.rules_broken", path=path, count=count, hint="error.rules_broken_hint", code=Exit.USAGE)
