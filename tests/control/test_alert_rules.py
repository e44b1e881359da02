"""To whom an alert goes and when; what is usual and what is not; and that every message is whole."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest

from proxy.control import alerts, anomalies
from proxy.control.anomalies import Hour
from proxy.control.messages import Told, body_of, compose, title_of
from proxy.core.alert_model import LOG_CHANNEL, Channel, Kind, QuietHours, Severity
from proxy.core.text import LANGUAGES
from proxy.core.watch_model import Anomalies
from tests.state.calls import SEOUL, at

INFO, WARNING, CRITICAL = Severity
NIGHT = QuietHours(frozenset(range(7)), 22 * 60, 8 * 60)
LUNCH = QuietHours(frozenset(range(5)), 12 * 60, 13 * 60)
FRIDAY_NIGHT = QuietHours(frozenset({4}), 23 * 60, 7 * 60)


@pytest.mark.parametrize(
    ("channel", "kind", "severity", "budget", "expected"),
    [
        (Channel("a", WARNING), Kind.BURN, WARNING, "monthly", True),
        (Channel("a", CRITICAL), Kind.BURN, WARNING, "monthly", False),
        (Channel("a", CRITICAL), Kind.TEST, INFO, None, True),
        (Channel("a", budgets=frozenset({"monthly"})), Kind.BURN, WARNING, "monthly", True),
        (Channel("a", budgets=frozenset({"daily"})), Kind.BURN, WARNING, "monthly", False),
        (Channel("a", budgets=frozenset({"daily"})), Kind.BREAKER, WARNING, None, True),  # concerns everybody
        (Channel("a", kinds=frozenset({Kind.BURN})), Kind.BURN, WARNING, "monthly", True),
        (Channel("a", kinds=frozenset({Kind.BURN})), Kind.FORECAST, WARNING, "monthly", False),
        (LOG_CHANNEL, Kind.ANOMALY, INFO, None, True),
    ],
)
def test_routing(channel: Channel, kind: Kind, severity: Severity, budget: str | None, expected: bool) -> None:
    assert alerts.takes(channel, kind, severity, budget) is expected


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        (NIGHT, "2026-11-23T21:59:59+09:00", None),
        (NIGHT, "2026-11-23T22:00:00+09:00", "2026-11-24T08:00:00+09:00"),
        (NIGHT, "2026-11-24T03:00:00+09:00", "2026-11-24T08:00:00+09:00"),
        (NIGHT, "2026-11-24T08:00:00+09:00", None),
        (LUNCH, "2026-11-27T12:30:00+09:00", "2026-11-27T13:00:00+09:00"),
        (LUNCH, "2026-11-28T12:30:00+09:00", None),  # a Saturday
        (FRIDAY_NIGHT, "2026-11-27T23:30:00+09:00", "2026-11-28T07:00:00+09:00"),
        (FRIDAY_NIGHT, "2026-11-28T06:59:00+09:00", "2026-11-28T07:00:00+09:00"),  # begun on Friday
        (FRIDAY_NIGHT, "2026-11-28T23:30:00+09:00", None),
        (QuietHours(frozenset({0}), 20 * 60, 24 * 60), "2026-11-23T23:00:00+09:00", "2026-11-24T00:00:00+09:00"),
        (None, "2026-11-23T23:00:00+09:00", None),
    ],
)
def test_quiet_hours(quiet: QuietHours | None, now: str, until: str | None) -> None:
    assert alerts.quiet_until(quiet, SEOUL, at(now)) == (at(until) if until else None)


def test_what_is_critical_passes_quiet_hours_and_groups() -> None:
    channel, now = Channel("a", quiet=NIGHT, group_s=600), at("2026-11-23T23:00:00+09:00")
    assert alerts.due_ms(channel, CRITICAL, SEOUL, now, last_sent_ms=now) == now
    assert alerts.due_ms(channel, WARNING, SEOUL, now, last_sent_ms=now) == at("2026-11-24T08:00:00+09:00")


def test_a_group_gathers_until_it_closes_and_never_into_the_night() -> None:
    channel, day = Channel("a", quiet=NIGHT, group_s=600), at("2026-11-23T12:00:00+09:00")
    assert alerts.due_ms(channel, WARNING, SEOUL, day) == day
    assert alerts.due_ms(channel, WARNING, SEOUL, day + 60_000, last_sent_ms=day) == day + 600_000
    late = at("2026-11-23T21:55:00+09:00")
    assert alerts.due_ms(channel, WARNING, SEOUL, late + 1, last_sent_ms=late) == at("2026-11-24T08:00:00+09:00")


def test_tries_come_ever_later_and_end() -> None:
    pauses = [alerts.retry_after_s(attempt) for attempt in range(1, 13)]
    assert pauses == [5, 15, 45, 135, 405, 1215, 3600, 3600, 3600, 3600, 3600, None]


@pytest.mark.parametrize(
    ("open_keys", "holding", "stays", "raised", "resolved"),
    [
        (set(), ["a"], set(), ["a"], []),
        ({"a"}, ["a"], set(), [], []),
        ({"a"}, [], set(), [], ["a"]),
        ({"a"}, [], {"a"}, [], []),
        ({"a", "b"}, ["b", "c"], set(), ["c"], ["a"]),
    ],
)
def test_an_alert_is_raised_once_and_resolved_once(
    open_keys: set[str], holding: list[str], stays: set[str], raised: list[str], resolved: list[str]
) -> None:
    found = alerts.changes(
        open_keys, [replace(alerts.circuit_open("x", ""), key=key) for key in holding], stays.__contains__
    )
    assert [alert.key for alert in found.raised] == raised
    assert list(found.resolved) == resolved


def test_one_answer_without_usage_is_no_alarm_but_one_call_without_a_price_is() -> None:
    def kinds(calls: int, **notes: int) -> list[str]:
        counted = {("openai", note): count for note, count in notes.items()}
        return [alert.kind.value for alert in alerts.counting_trouble("2026-11-23", {"openai": calls}, counted)]

    assert kinds(10, usage_missing=4) == []
    assert kinds(10, usage_missing=5) == ["usage_missing"]
    assert kinds(1000, usage_missing=49) == []
    assert kinds(1000, unpriced_model=1) == ["unpriced"]
    assert kinds(1000, cut=500) == []


# --- what is usual --------------------------------------------------------------------------------------------------


def mondays(*spent: int) -> list[Hour]:
    return [Hour(0, 9, {"api|openai": atoms}) for atoms in spent]


@pytest.mark.parametrize(
    ("past", "spent", "floor", "expected"),
    [
        (mondays(100, 110, 90, 100), 301, 50, True),  # three times the median
        (mondays(100, 110, 90, 100), 299, 50, False),
        (mondays(100, 110, 90, 100), 301, 400, False),  # pennies
        (mondays(100, 100, 5000, 100, 100), 400, 50, True),  # one wild hour of the past hides nothing
        (mondays(100, 500, 900, 1300, 1700), 3000, 50, False),  # it always scatters
        (mondays(0, 0, 0, 0), 51, 50, True),  # never anything at this hour
        (mondays(100, 100, 100), 9999, 50, False),  # three weeks are too few
        (mondays(100, 100, 100) + [Hour(day, 9, {"api|openai": 100}) for day in (1, 2, 3, 4)], 400, 50, True),  # 7 days
        (mondays(100, 100, 100) + [Hour(day, 10, {"api|openai": 100}) for day in (1, 2, 3, 4)], 400, 50, False),
    ],
)
def test_an_unusual_hour(past: list[Hour], spent: int, floor: int, expected: bool) -> None:
    assert anomalies.unusual(anomalies.band(past, "api|openai", 0, 9), spent, floor) is expected


def test_the_rules_may_call_less_or_more_usual() -> None:
    past = mondays(100, 110, 90, 100)

    def odd(spent: int, times: int, deviations: int) -> bool:
        found = anomalies.band(past, "api|openai", 0, 9, Anomalies(Decimal(times), Decimal(deviations)))
        return anomalies.unusual(found, spent, 50)

    assert (odd(199, 2, 6), odd(201, 2, 6)) == (False, True)
    assert (odd(399, 4, 6), odd(401, 4, 6)) == (False, True)
    assert (odd(1000, 2, 200), odd(2000, 2, 200)) == (False, True)  # the deviation is 5, scaled 7.4


def test_an_hour_without_spending_counts_as_nothing() -> None:
    past = [Hour(0, 9, {"api|other": 5})] * 4
    assert anomalies.band(past, "api|openai", 0, 9) == anomalies.Band(0, 0, "week", 4)


# --- messages ---------------------------------------------------------------------------------------------------------

MONEY = {
    "budget": "monthly",
    "period": "2026-11",
    "currency": "KRW",
    "limit": "15000",
    "spent": "13500",
    "left": "1500",
    "resets_at": "2026-12-01T00:00:00.000+09:00",
    "next_effect": "restrict",
    "next_percent": "95",
    "next_after": "750",
    "next_at": "2026-11-27T06:00:00.000+09:00",
}
FACTS: dict[Kind, dict[str, str]] = {
    Kind.THRESHOLD: MONEY | {"percent": "90", "effect": "warn", "at": "2026-11-26T12:00:00.000+09:00"},
    Kind.FORECAST: MONEY
    | {"expected": "18000", "over": "3000", "made_by": "ensemble", "low": "16000", "high": "20000"},
    Kind.BURN: MONEY | {"hours": "1", "burnt": "125", "times": "6", "empty_at": "2026-11-27T00:00:00.000+09:00"},
    Kind.ANOMALY: {
        "sort": "caller",
        "who": "batch",
        "currency": "KRW",
        "spent": "400",
        "usual": "100",
        "upper": "300",
        "basis": "week",
        "hour": "2026-11-23T09:00:00.000+09:00",
    },
    Kind.BREAKER: {"api": "openai", "until": "2026-11-23T09:00:30.000+09:00"},
    Kind.UNPRICED: {"api": "openai", "day": "2026-11-23", "calls": "10", "unpriced": "1"},
    Kind.USAGE_MISSING: {"api": "openai", "day": "2026-11-23", "calls": "10", "missing": "5"},
    Kind.PROXY_SILENT: {
        "host": "box",
        "pid": "7",
        "listen": "127.0.0.1:8080",
        "last": "2026-11-23T09:00:30.000+09:00",
    },
    Kind.SERVICE_FAILED: {"service": "gpu", "wanted": "stopped", "error": "exit status 1"},
    Kind.INCIDENT: {
        "incident": "0abc",
        "about": "runaway",
        "level": "high",
        "caller": "batch",
        "budget": "monthly",
        "currency": "KRW",
        "took": "900",
        "left": "5000",
        "minutes": "10",
        "share": "97",
        "times": "12",
        "empty_in": "55",
        "proposed": "stop_all all",
        "done": "block_caller caller:batch 3 2026-11-26T13:00:00.000+09:00",
    },
    Kind.TEST: {"channel": "team"},
}


def told(kind: Kind, severity: Severity = WARNING, resolved_at: str = "", **facts: str) -> Told:
    return Told("a1", kind, severity, "monthly", FACTS[kind] | facts, "2026-11-23T09:00:00.000+09:00", resolved_at)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", list(Kind))
def test_every_message_is_whole_sentences_in_both_languages(kind: Kind, language: str) -> None:
    one = told(kind)
    assert not re.search(r"[{}]", title_of(one, language))
    for line in body_of(one, language).splitlines()[: -1 if kind is not Kind.TEST else None]:
        assert line.endswith((".", "20.")), line
        assert not re.search(r"\{\w+\}|T00:00|\+09:00:|\bKRW\b(?=원)", line)
    assert "spendgate" in body_of(one, language) or kind in (Kind.TEST, Kind.BREAKER)


def test_a_threshold_says_what_happened_what_is_left_what_is_refused_next_and_what_to_do() -> None:
    assert body_of(told(Kind.THRESHOLD), "en").splitlines() == [
        "The budget monthly has reached 90 % of its limit for 2026-11: 13,500 KRW of 15,000 KRW is spent.",
        "Left: 1,500 KRW until 2026-12-01 00:00 +09:00.",
        "After another 750 KRW (95 %) only essential calls pass. That will probably be at 2026-11-27 06:00 +09:00.",
        "See who spends: spendgate ledger --last 20.",
        "Seen it? spendgate alerts ack a1",
    ]
    assert body_of(told(Kind.THRESHOLD), "ko").splitlines()[0] == (
        "예산 monthly이(가) 2026-11 한도의 90 %에 이르렀습니다. 한도 15,000원 중 사용액은 13,500원입니다."
    )


@pytest.mark.parametrize(
    ("effect", "following", "expected"),
    [
        ("restrict", "stop", "Calls that are not essential are refused now; after another 750 KRW"),
        ("stop", "none", "Everything that costs money is refused until 2026-12-01 00:00 +09:00"),
        ("warn", "stop", "After another 750 KRW (95 %) nothing that costs money passes."),  # restrict and stop are one
    ],
)
def test_what_is_refused_next(effect: str, following: str, expected: str) -> None:
    assert expected in body_of(told(Kind.THRESHOLD, effect=effect, next_effect=following), "en")


def test_several_alerts_make_one_message_the_most_serious_first() -> None:
    message = compose([told(Kind.BREAKER), told(Kind.PROXY_SILENT, CRITICAL)], "en")
    assert message.title == "2 alerts, the most serious: The proxy on box is silent"
    assert message.severity is CRITICAL
    assert message.body.index("silent") < message.body.index("circuit")


def test_a_resolved_message_says_when_it_began_and_ended() -> None:
    message = compose([told(Kind.BURN, resolved_at="2026-11-23T10:00:00.000+09:00")], "en")
    assert message.title.startswith("Over: monthly: money goes 6 times")
    assert message.body.splitlines()[0] == (
        "This is over since 2026-11-23 10:00 +09:00. It had begun at 2026-11-23 09:00 +09:00."
    )
