"""When something ends, as people say it."""

from __future__ import annotations

from datetime import datetime

import pytest

from proxy.core.moments import until_ms

NOW = "2026-11-26T21:00:00+09:00"
SEOUL = "Asia/Seoul"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("30s", "2026-11-26T21:00:30+09:00"),
        ("30m", "2026-11-26T21:30:00+09:00"),
        ("2h", "2026-11-26T23:00:00+09:00"),
        (" 1d ", "2026-11-27T21:00:00+09:00"),
        ("22:15", "2026-11-26T22:15:00+09:00"),
        ("9:00", "2026-11-27T09:00:00+09:00"),
        ("21:00", "2026-11-27T21:00:00+09:00"),
        ("2026-12-01", "2026-12-01T00:00:00+09:00"),
        ("2026-12-01 09:30", "2026-12-01T09:30:00+09:00"),
        ("2026-12-01T00:00:00Z", "2026-12-01T09:00:00+09:00"),
    ],
)
def test_the_end_that_is_meant(text: str, ends: str) -> None:
    assert until_ms(text, ms(NOW), SEOUL) == ms(ends)


@pytest.mark.parametrize("text", ["", "0m", "soon", "-1h", "2026-11-26", "2028-01-01", "25:00", "99999d", "٣h"])
def test_what_is_no_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        until_ms(text, ms(NOW), SEOUL)
