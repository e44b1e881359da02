"""A script's keys and arguments as Redis's protocol (RESP) has them, so that what many calls share is encoded once.

Encoding the words of a call one by one costs more than everything else that sending it does; nearly all of them are the
same for all calls with the same budgets. Knows nothing of scripts, keys or connections.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import hiredis
import msgspec

Argument = str | bytes | int
pack_command: Any = hiredis.pack_command  # its type stub allows tuples of one only
encode = msgspec.msgpack.Encoder().encode


class Packed:
    """Consecutive words of a command, encoded: how many they are, and their bytes."""

    __slots__ = ("count", "data")

    def __init__(self, count: int, data: bytes) -> None:
        self.count = count
        self.data = data


def words(*args: Argument) -> Packed:
    """These words."""
    command: bytes = pack_command(args)
    return Packed(len(args), command[command.index(b"\n") + 1 :])  # without "*<count>\r\n"


def word(data: bytes) -> bytes:
    """One word's bytes on the wire."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def command(name: Packed, rest: Packed) -> bytes:
    """One command: its name (with what belongs to it), and the other words."""
    return b"".join((_header(name.count + rest.count), name.data, rest.data))


@lru_cache(maxsize=256)
def _header(count: int) -> bytes:
    """The header of a command of so many words."""
    return b"*%d\r\n" % count
