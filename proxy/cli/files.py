"""Files that a person named: read whole, within bounds, with a sentence instead of an exception."""

from __future__ import annotations

import sys
from pathlib import Path

from proxy.cli.frame import Exit, Frame

LIMIT_BYTES = 64 * 1024 * 1024  # a request or response body given to `price`


def why(frame: Frame, error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return frame.say("error.why.missing")
        case IsADirectoryError():
            return frame.say("error.why.directory")
        case PermissionError():
            return frame.say("error.why.permission")
        case _:
            return frame.say("error.why.other", detail=error.strerror or type(error).__name__)


def read(frame: Frame, path: str, limit: int = LIMIT_BYTES) -> bytes:
    """The bytes of a file, or of standard input for "-". Ends the command when it cannot be read or is too large."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(path).expanduser().open("rb") as file:
                content = file.read(limit + 1)
    except OSError as error:
        frame.fail("error.unreadable", path=path, why=why(frame, error), code=Exit.USAGE)
    if len(content) > limit:
        frame.fail("error.too_large", path=path, limit=limit // 1024 // 1024, code=Exit.USAGE)
    return content


def write(frame: Frame, path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        frame.fail("error.unwritable", path=path, why=why(frame, error), code=Exit.USAGE)
