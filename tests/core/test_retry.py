"""When a call may be made again, after how long, and how much of the traffic repeats may be."""

from __future__ import annotations

from decimal import Decimal
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import retry
from proxy.core.handling_model import RetryPolicy, StatusSet
from proxy.core.model import Bill, Cost, State
from proxy.core.retry import Failure, Tried

NOW = 1_795_700_000_000
USUAL = RetryPolicy()


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (Failure(200), False),
        (Failure(400), False),
        (Failure(429), True),
        (Failure(500), True),
        (Failure(599), True),
        (Failure(None, timeout=True), True),
        (Failure(None, timeout=True, sent=False), True),
        (Failure(None), True),
    ],
)
def test_which_failures_count(failure: Failure, wanted: bool) -> None:
    assert retry.counts(USUAL, failure) == wanted
    assert not retry.counts(RetryPolicy(statuses=StatusSet(()), connect=False, timeout=False), failure)


@pytest.mark.parametrize(
    ("method", "has_key", "kept", "sent", "wanted"),
    [
        ("GET", False, True, True, True),
        ("PUT", False, True, True, True),
        ("DELETE", False, True, True, True),
        ("POST", False, True, True, False),
        ("PATCH", False, True, True, False),
        ("POST", True, True, True, True),
        ("POST", False, True, False, True),  # nothing was sent
        ("PUT", True, False, True, False),  # the body is gone
        ("PUT", False, False, False, True),  # it has not been touched
    ],
)
def test_what_can_do_nothing_twice(method: str, has_key: bool, kept: bool, sent: bool, wanted: bool) -> None:
    assert retry.safe(USUAL, method, has_key, kept, Failure(503 if sent else None, sent=sent)) == wanted


def test_a_rule_may_say_that_its_calls_can_be_repeated() -> None:
    policy = RetryPolicy(repeatable=True)
    assert retry.safe(policy, "POST", False, True, Failure(503))
    assert not retry.safe(policy, "POST", False, False, Failure(503))


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=12))
def test_pauses_grow_with_chance_and_within_bounds(chances: list[float]) -> None:
    before = 0
    for chance in chances:
        pause = retry.pause_ms(USUAL, before, chance)
        assert USUAL.backoff_ms <= pause <= USUAL.max_backoff_ms
        assert pause <= 3 * max(before, USUAL.backoff_ms) + 1
        before = pause


def test_pauses_reach_their_ends() -> None:
    assert retry.pause_ms(USUAL, 0, 0.0) == 200
    assert retry.pause_ms(USUAL, 0, 0.999999) == 600
    assert retry.pause_ms(USUAL, 4000, 0.999999) == 5000


@pytest.mark.parametrize(
    ("asked_ms", "left_ms", "wanted"),
    [
        (None, None, 300),
        (1000, None, 1000),
        (100, None, 300),
        (5000, None, 5000),
        (5001, None, None),  # it asks for more patience than the rule has
        (None, 301, 300),
        (None, 300, None),
        (1000, 900, None),
        (None, -5, None),
    ],
)
def test_how_long_to_wait(asked_ms: int | None, left_ms: int | None, wanted: int | None) -> None:
    assert retry.wait_ms(USUAL, 300, Failure(429, retry_after_ms=asked_ms), left_ms) == wanted


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ([(b"Retry-After", b"3")], 3000),
        ([(b"retry-after", formatdate(NOW / 1000 + 7, usegmt=True).encode())], 7000),
        ([(b"Retry-After", formatdate(NOW / 1000 - 7, usegmt=True).encode())], 0),
        ([(b"Retry-After", b"3"), (b"retry-after-ms", b"250")], 250),
        ([(b"Retry-After", b"soon")], None),
        ([(b"Retry-After", b"-1")], None),
        ([], None),
    ],
)
def test_what_the_api_asks(fields: list[tuple[bytes, bytes]], wanted: int | None) -> None:
    assert retry.retry_after_ms(fields, NOW) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"), [(b"600", 600.0), (b"2.5", 2.5), (b"0", None), (b"never", None), (b"nan", None)]
)
def test_what_a_client_says_of_its_patience(value: bytes, wanted: float | None) -> None:
    assert retry.patience_s([(b"X-Stainless-Read-Timeout", value)]) == wanted
    assert retry.patience_s([(b"X-Other", value)]) is None


# --- one bill --------------------------------------------------------------------------------------------------------


def bill(amount: str, state: State = State.SETTLED, **more: object) -> Bill:
    won = Decimal(amount)
    return Bill(Cost(won, "KRW", {"KRW": int(won * 10**6)}), state, {"requests": 1}, **more)  # type: ignore[arg-type]


def test_attempts_are_one_bill() -> None:
    earlier = [
        Tried(503, Decimal(1), bill("0")),
        Tried(None, Decimal(2), bill("3", State.ESTIMATED, note="no_response")),
    ]
    whole = retry.together(earlier, bill("4"), None)
    assert (whole.cost.original, whole.cost.atoms) == (7, {"KRW": 7_000_000})
    assert (whole.state, whole.note, whole.usage) == (State.ESTIMATED, "no_response", {"requests": 2})


def test_attempts_that_cost_nothing_do_not_make_a_bill_less_sure() -> None:
    whole = retry.together([Tried(429, Decimal(1), bill("0"))], bill("4"), None)
    assert (whole.cost.original, whole.state, whole.note) == (4, State.SETTLED, None)


def test_each_attempt_draws_from_the_quota() -> None:
    earlier = [Tried(500, Decimal(1), bill("0", quota_units=0)), Tried(200, Decimal(1), bill("1"))]
    assert retry.together(earlier, bill("1", quota_units=3000), 1000).quota_units == 4000
