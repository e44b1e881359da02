"""A script's arguments as Redis's protocol (RESP) has them, so that what many calls share is encoded once.

Encoding ninety arguments costs more than everything else that sending a call does; most of them are the same for all
calls with the same budgets. Knows nothing of scripts, keys or connections.
"""

from __future__ import annotations

from typing import Any

import hiredis

Argument = str | bytes | int
pack_command: Any = hiredis.pack_command  # its type stub allows tuples of one only


class Packed:
    """Consecutive arguments, encoded: how many they are, and their bytes."""

    __slots__ = ("count", "data")

    def __init__(self, *args: Argument) -> None:
        command: bytes = pack_command(args)
        self.count = len(args)
        self.data = command[command.index(b"\n") + 1 :]  # without "*<count>\r\n"


def command(*parts: Packed) -> bytes:
    """One command of these arguments in this order."""
    return b"*%d\r\n%b" % (sum([part.count for part in parts]), b"".join([part.data for part in parts]))
