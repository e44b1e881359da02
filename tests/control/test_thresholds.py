"""What thresholds do, when they come, and when money burns: tables of situations."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control.thresholds import Path, Sample, burning, severity, spent_since, straight, upcoming
from proxy.core.alert_model import Severity
from proxy.core.model import Window
from proxy.core.threshold import budget_state, effect, from_percent, percent_text, reached, threshold_atoms
from proxy.core.watch_model import BURN_WINDOWS, HOUR_MS, Anomalies, burn_window
from proxy.rules_file import load_text
from tests.state.calls import at, monthly, won

NOVEMBER = Window("2026-11", at("2026-11-01T00:00:00+09:00"), at("2026-12-01T00:00:00+09:00"))
NOON = at("2026-11-15T12:00:00+09:00")
LIMIT = won(15000)
SUSTAINABLE_HOUR = LIMIT // 720  # 30 days


@pytest.mark.parametrize(
    ("spent", "top", "state", "following"),
    [
        ("0", None, "ok", 9500),
        ("10499.999999", None, "ok", 9500),
        ("10500", 7000, "warning", 9500),
        ("12000", 8000, "warning", 9500),
        ("13500", 9000, "warning", 9500),
        ("14249.999999", 9000, "warning", 9500),
        ("14250", 9500, "restricted", 10000),
        ("15000", 10000, "stopped", None),
        ("99999", 10000, "stopped", None),
    ],
)
def test_the_seeds_five_levels(spent: str, top: int | None, state: str, following: int | None) -> None:
    budget = monthly(15000)
    assert reached(budget, LIMIT, won(spent)) == top
    assert budget_state(budget, won(spent), LIMIT) == state
    assert upcoming(budget, LIMIT, won(spent)) == following


def test_an_increase_moves_every_threshold() -> None:
    assert reached(monthly(15000), won(20000), won(15000)) == 7000
    assert threshold_atoms(won(20000), 9500) == won(19000)


@pytest.mark.parametrize(
    ("basis_points", "does", "how_bad"),
    [(7000, "warn", "warning"), (9000, "warn", "warning"), (9500, "restrict", "critical"), (10000, "stop", "critical")],
)
def test_what_refuses_calls_is_critical(basis_points: int, does: str, how_bad: str) -> None:
    assert effect(monthly(), basis_points) == does
    assert severity(monthly(), basis_points) is Severity(how_bad)


@given(st.integers(1, 10_000))
def test_percents_go_to_text_and_back(basis_points: int) -> None:
    assert from_percent(percent_text(basis_points)) == basis_points


@given(st.integers(0, 10**15), st.integers(1, 10_000))
def test_a_threshold_is_never_early(limit: int, basis_points: int) -> None:
    atoms = threshold_atoms(limit, basis_points)
    assert atoms * 10_000 >= limit * basis_points
    assert (atoms - 1) * 10_000 < limit * basis_points or atoms == 0


def test_a_path_is_followed_between_its_points() -> None:
    path = Path(((0, 100), (10, 200), (20, 1200)))
    assert [path.reaches(atoms) for atoms in (50, 100, 150, 200, 700, 1200, 1201)] == [0, 0, 5, 10, 15, 20, None]


@given(st.integers(0, 1000), st.integers(0, 2000), st.integers(0, 2000))
def test_a_straight_path_reaches_everything_up_to_its_end(spent: int, expected: int, atoms: int) -> None:
    found = straight(1000, spent, 2000, expected).reaches(atoms)
    if atoms > max(spent, expected):
        assert found is None
    else:
        assert found is not None
        assert 1000 <= found <= 2000


def samples(*minutes_and_won: tuple[int, int | str]) -> list[Sample]:
    """(minutes before noon, spent then)."""
    return [Sample(NOON - minutes * 60_000, "2026-11", won(spent)) for minutes, spent in minutes_and_won]


@pytest.mark.parametrize(
    ("seen", "spent", "minutes", "expected"),
    [
        (samples((120, 100), (60, 200), (5, 260)), "300", 60, "100"),
        (samples((120, 100), (0, 340)), "340", 60, "120"),  # half way between two looks
        (samples((30, 250)), "300", 60, "50"),  # nobody looked before: only what was seen counts
        ([], "300", 60, "0"),
        ([Sample(NOON - 60_000, "2026-10", won(9999))], "300", 60, "0"),  # another period says nothing
    ],
)
def test_what_a_window_took(seen: list[Sample], spent: str, minutes: int, expected: str) -> None:
    assert spent_since(seen, won(spent), NOON - minutes * 60_000, NOVEMBER) == won(expected)


def fire(took_hour: int, took_5_minutes: int, took_6_hours: int = 0, took_30_minutes: int = 0) -> list[Sample]:
    """Looks of a budget that now has spent 5000 won."""
    took = {
        360: max(took_6_hours, took_hour),
        60: took_hour,
        30: max(took_30_minutes, took_5_minutes),
        5: took_5_minutes,
    }
    return samples(*((minutes, 5000 - amount) for minutes, amount in took.items()))


@pytest.mark.parametrize(
    ("seen", "hours"),
    [
        (fire(125, 11), 1),  # 15000 / 720 h * 6 = 125 won in an hour, 10.42 in 5 minutes
        (fire(124, 11), None),  # the hour is not hot enough
        (fire(125, 10), None),  # it has stopped
        (fire(20, 2, took_6_hours=375, took_30_minutes=32), 6),  # 3 times: 375 in six hours, 31.25 in half an hour
        (fire(20, 2, took_6_hours=375, took_30_minutes=31), None),
        (fire(20, 2, took_6_hours=374, took_30_minutes=40), None),
        (fire(600, 100, took_6_hours=600, took_30_minutes=300), 1),  # both: the hotter one is told
    ],
)
def test_both_windows_must_burn(seen: list[Sample], hours: int | None) -> None:
    found = burning(seen, won(5000), LIMIT, NOVEMBER, NOON)
    assert (found.window.long_ms // HOUR_MS if found else None) == hours


def test_a_fire_says_how_hot_it_is_and_when_nothing_is_left() -> None:
    found = burning(fire(1250, 200), won(5000), LIMIT, NOVEMBER, NOON)
    assert found is not None
    assert found.times_tenths == 600
    assert found.empty_ms == NOON + 8 * HOUR_MS  # 10000 left at 1250 an hour
    assert found.severity(NOON) is Severity.CRITICAL
    slow = burning(fire(125, 11), won(5000), LIMIT, NOVEMBER, NOON)
    assert slow is not None
    assert slow.severity(NOON) is Severity.WARNING  # 80 hours left


def test_what_is_burnt_out_burns_no_more() -> None:
    assert burning(fire(1250, 200), won(5000), won(5001), NOVEMBER, NOON) is not None
    assert burning(fire(1250, 200), won(5000), won(5000), NOVEMBER, NOON) is None


def test_the_rules_may_say_other_windows_or_none() -> None:
    seen = fire(125, 11)
    assert burning(seen, won(5000), LIMIT, NOVEMBER, NOON, (burn_window(1, Decimal("6.1")),)) is None
    found = burning(seen, won(5000), LIMIT, NOVEMBER, NOON, (burn_window(1, Decimal("5.5")),))
    assert found is not None
    assert (found.window.factor, found.times_tenths) == (Decimal("5.5"), 60)
    assert burning(fire(1250, 200), won(5000), LIMIT, NOVEMBER, NOON, ()) is None


@pytest.mark.parametrize(
    ("said", "windows", "anomalies"),
    [
        ("", BURN_WINDOWS, Anomalies()),
        ("watch: {burn: {off: true}}", (), Anomalies()),
        ("watch: {burn: {windows: [{hours: 2, factor: 4.5}]}}", (burn_window(2, Decimal("4.5")),), Anomalies()),
        ("watch: {anomalies: {off: true}}", BURN_WINDOWS, None),
        ("watch: {anomalies: {times: 5, floor: 2%}}", BURN_WINDOWS, Anomalies(Decimal(5), Decimal(6), 200)),
        ("watch: {anomalies: {deviations: 9}}", BURN_WINDOWS, Anomalies(Decimal(3), Decimal(9), 100)),
    ],
)
def test_the_rules_say_when_it_is_told(said: str, windows: object, anomalies: object) -> None:
    loaded = load_text(
        f"version: 1\napis: [{{name: a, upstream: 'https://a.example.com', prices: [{{free: true}}]}}]\n{said}"
    )
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    assert (loaded.rules.watch.burn, loaded.rules.watch.anomalies) == (windows, anomalies)


def test_a_window_that_would_need_more_than_the_limit_is_not_looked_at() -> None:
    hour = Window("2026-11-15T12+0900", NOON, NOON + HOUR_MS)
    seen = [Sample(NOON, hour.label, 0), Sample(NOON + 60_000, hour.label, won(1000))]
    assert burning(seen, won(1000), won(1000), hour, NOON + 120_000) is None
