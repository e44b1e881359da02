"""What is told of our limits, and what is understood of an API's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import ratelimit
from proxy.core.guards import Counts, Guards, Limit, Limited, Pressed

NOW_MS = 1_795_402_800_500  # 2026-11-23T12:00:00.5+09:00
LIMITED = Limited(
    "api",
    "openai",
    (
        Limit(Counts.REQUESTS, 60, "minute"),
        Limit(Counts.INPUT_TOKENS, 900, "hour"),
        Limit(Counts.CONCURRENT, 8),
        Limit(Counts.COST, 500_000_000, "day", "KRW"),
    ),
)
OF_CALLER = Limited("caller", "batch", (Limit(Counts.REQUESTS, 5, "second"),))
GUARDS = Guards((LIMITED, OF_CALLER))


def test_the_fields_name_each_limit_its_size_and_what_is_left() -> None:
    assert ratelimit.fields(GUARDS, (48, 900, 1, 600_000_000, 0), NOW_MS) == [
        (
            "RateLimit-Policy",
            '"openai requests/minute";q=60;w=60, "openai input_tokens/hour";q=900;qu="input-tokens";w=3600, '
            '"openai concurrent";q=8;qu="concurrent-requests", "openai KRW/day";q=500000000;qu="micro-KRW";w=86400, '
            '"caller:batch requests/second";q=5;w=1',
        ),
        (
            "RateLimit",
            '"openai requests/minute";r=12;t=61, "openai input_tokens/hour";r=0;t=3660, "openai concurrent";r=7, '
            '"openai KRW/day";r=0;t=87300, "caller:batch requests/second";r=5',
        ),
    ]


def test_the_limit_that_refused_says_when_there_is_room_for_the_call() -> None:
    pressed = Pressed(LIMITED, LIMITED.limits[0], 60, 1, 2001)
    (_, state) = ratelimit.fields(GUARDS, (60, 0, 0, 0, 0), NOW_MS, pressed)[1]
    assert state.startswith('"openai requests/minute";r=0;t=3, ')


def test_without_limits_nothing_is_told() -> None:
    assert ratelimit.fields(Guards(), (), NOW_MS) == []


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "20"}, 20),
        (503, {"retry-after": "0.5"}, 0.5),
        (200, {"Retry-After": "20"}, None),  # says when to look again, not that we were too many
        (500, {"Retry-After": "20"}, None),
        (429, {"Retry-After": "Mon, 23 Nov 2026 03:00:10 GMT"}, 9.5),
        (429, {"Retry-After": "soon"}, None),
        (429, {"Retry-After": "-5"}, None),
        (429, {"Retry-After": "86400"}, 3600),
        (429, {}, None),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        (200, {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "6m0s"}, None),
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3600),
        (200, {"x-ratelimit-remaining-tokens": "0"}, None),
        (
            200,
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-23T03:00:30Z",
                "anthropic-ratelimit-requests-remaining": "9",
                "anthropic-ratelimit-requests-reset": "2026-11-23T03:50:00Z",
            },
            29.5,
        ),
        (429, {"Retry-After": "5", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"}, 9),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1795402810"}, 9.5),
    ],
)
def test_a_pause_is_read_from_what_apis_say(status: int, headers: dict[str, str], seconds: float | None) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    until = ratelimit.pause_until(status, raw, NOW_MS)
    assert until == (None if seconds is None else NOW_MS + round(seconds * 1000))


_NAMES = ["Retry-After", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "anthropic-ratelimit-x-reset"]


@given(
    status=st.sampled_from([200, 429, 503]),
    headers=st.lists(st.tuples(st.sampled_from(_NAMES), st.text(max_size=30)), max_size=6),
)
def test_whatever_an_api_says_a_pause_is_never_past_nor_longer_than_an_hour(
    status: int, headers: list[tuple[str, str]]
) -> None:
    raw = [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers]
    until = ratelimit.pause_until(status, raw, NOW_MS)
    assert until is None or NOW_MS < until <= NOW_MS + ratelimit.LONGEST_PAUSE_MS
