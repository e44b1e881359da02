"""How the event loop of a process shares the interpreter with its threads.

Python lets a thread that computes keep the interpreter for 5 ms at a time, and a loop waits that long after every read
that it makes meanwhile: while rules.yaml is read again, or past forecasts are judged, a page of ten questions to Redis
would take a quarter of a second, and every call in flight would feel it.
"""

from __future__ import annotations

import sys
from typing import Final

_TURN_S: Final = 0.0005


def take_short_turns() -> None:
    """Let a computing thread give the interpreter to the loop ten times sooner. Costs nothing while none computes."""
    sys.setswitchinterval(_TURN_S)
