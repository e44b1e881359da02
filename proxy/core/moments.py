"""When something ends, as people say it: "30m", "2h", "1d", "18:00", "2026-11-30", "2026-11-30 09:00", ISO 8601.

Times without an offset are those of the rules' time zone. The present is an argument.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SPAN = re.compile(r"([0-9]{1,5}) ?(s|m|h|d)", re.ASCII)
_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_MOST_MS = 366 * 86_400_000


def until_ms(text: str, now_ms: int, timezone: str) -> int:
    """Unix ms of the end that `text` names: after now, within a year. Raises ValueError for anything else."""
    text = text.strip()
    zone = ZoneInfo(timezone)
    if found := _SPAN.fullmatch(text):
        ends = now_ms + int(found[1]) * _UNITS_MS[found[2]]
    elif found := _CLOCK.fullmatch(text):
        here = datetime.fromtimestamp(now_ms / 1000, zone)
        moment = here.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        if moment <= here:
            moment = (moment.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
        ends = _ms(moment)
    else:
        moment = datetime.fromisoformat(text)
        ends = _ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))
    if not now_ms < ends <= now_ms + _MOST_MS:
        raise ValueError(f"not within a year from now: {text}")
    return ends


def _ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
