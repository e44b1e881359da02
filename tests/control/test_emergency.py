"""What counts as trouble and how bad it is; what becomes of incidents: tables, and properties of both."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import rules_file
from proxy.control import escalation, incident_words, pace
from proxy.control.anomalies import Band
from proxy.control.emergency import (
    PACE_MS,
    STORM_MS,
    Away,
    Failures,
    Fire,
    Measures,
    Pace,
    StoreFacts,
    Trouble,
    Unusual,
    detect,
    graded,
)
from proxy.control.escalation import FALL_MS, Begins, Ends, Marks, Turns
from proxy.control.status import BudgetStatus, status_of
from proxy.control.thresholds import Burn
from proxy.core.emergency_model import Action, Emergency, Grade, Incident, Quiet, Sort, Taken, from_grade_on
from proxy.core.model import Level, RuleSet
from proxy.core.text import LANGUAGES
from proxy.core.watch_model import BURN_WINDOWS
from proxy.core.windows import window_at
from proxy.state.watching import PaceSample
from tests.state.calls import NOON, SEOUL, monthly, won

LOW, MEDIUM, HIGH, CRITICAL = Grade
HOUR, DAY = 3_600_000, 86_400_000


def status(spent: int = 1000, limit: int = 15000) -> BudgetStatus:
    """On 23 November, seven and a half days before the reset."""
    budget = monthly(limit)
    window = window_at(budget.period, SEOUL, NOON)
    level = Level("monthly", window.label, "KRW", budget.limit_atoms, won(spent), 0, window.end_ms)
    return status_of(budget, level, window, NOON)


# --- detection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("took", "all_", "spent", "usual", "expected"),
    [
        (29, 29, 1000, False, None),  # less than a 500th of the limit
        (80, 200, 1000, False, None),  # not most of what is spent
        (90, 100, 1000, True, None),  # what it does at this hour every week
        (90, 100, 1000, False, MEDIUM),  # 540 won an hour of 14 000 in 180 hours: seven times too fast
        (60, 60, 1000, False, None),  # less than six times too fast
        (100, 200, 1000, False, HIGH),  # 600 an hour: gone within a day
        (2400, 2400, 1000, False, CRITICAL),  # 14 400 an hour: gone within the hour
        (100, 100, 15000, False, None),  # nothing is left to be taken
    ],
)
def test_a_runaway_caller(took: int, all_: int, spent: int, usual: bool, expected: Grade | None) -> None:
    measures = Measures(paces=[Pace("batch", status(spent), SEOUL, won(took), won(all_), usual)])
    assert [one.grade for one in detect(measures, {})] == ([expected] if expected else [])


def test_a_runaway_is_told_of_the_budget_that_it_empties_soonest() -> None:
    small = replace(status(900, 1000), budget="small")
    paces = [Pace("batch", one, SEOUL, won(100), won(100)) for one in (status(), small, status())]
    (found,) = detect(Measures(paces=paces), {})
    assert (found.facts["budget"], found.target, found.grade) == ("small", "caller:batch", CRITICAL)
    assert (found.facts["empty_in"], found.facts["share"]) == ("10", "100")


@pytest.mark.parametrize(
    ("spent", "expected"),
    [(60, LOW), (90, MEDIUM), (600, HIGH), (14000, CRITICAL)],
)
def test_a_burning_budget(spent: int, expected: Grade) -> None:
    empty = NOON + 14000 * HOUR // spent
    burn = Burn(BURN_WINDOWS[0], won(spent), 60, empty if empty < status().resets_ms else None)
    (found,) = detect(Measures(fires=[Fire(status(), burn, SEOUL, "burn:monthly:2026-11")]), {})
    assert (found.grade, found.cause, found.alert) == (expected, "burn:monthly", "burn:monthly:2026-11")


@pytest.mark.parametrize(("spent", "expected"), [(301, LOW), (900, MEDIUM), (3000, HIGH), (99000, HIGH)])
def test_an_unusual_hour(spent: int, expected: Grade) -> None:
    one = Unusual("api|openai", won(spent), Band(won(100), won(300), "week", 5), "KRW", "2026-11-23T12:00", "anomaly")
    (found,) = detect(Measures(unusual=[one]), {})
    assert (found.grade, found.target, found.cause) == (expected, "api:openai", "anomaly:api|openai")


@pytest.mark.parametrize(
    ("lately", "before", "expected"),
    [
        ((1000, 19), (0, 0), None),  # a few failures are no storm
        ((300, 20), (0, 0), None),  # nor is a small share
        ((200, 20), (0, 0), LOW),
        ((100, 25), (0, 0), MEDIUM),
        ((40, 20), (0, 0), HIGH),
        ((100, 25), (1000, 100), None),  # two and a half times the usual share
        ((100, 31), (1000, 100), MEDIUM),
        ((100, 25), (99, 50), MEDIUM),  # too little was seen to say what is usual
        ((10, 20), (0, 0), HIGH),  # counted apart, so failures may be ahead of calls
    ],
)
def test_an_error_storm(lately: tuple[int, int], before: tuple[int, int], expected: Grade | None) -> None:
    found = detect(Measures(failures=[Failures("openai", *lately, *before)]), {})
    assert [one.grade for one in found] == ([expected] if expected else [])
    assert all(int(one.facts["percent"]) <= 100 for one in found)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (StoreFacts(99, 0, 0, 79), {}),
        (StoreFacts(100), {"slow": MEDIUM}),
        (StoreFacts(2000), {"slow": CRITICAL}),
        (StoreFacts(refused=1), {"away": MEDIUM}),
        (StoreFacts(refused=100, waiting=7), {"away": HIGH}),
        (StoreFacts(away=Away(NOON - 4_999, NOON)), {}),
        (StoreFacts(away=Away(NOON - 5_000, NOON)), {"away": MEDIUM}),
        (StoreFacts(refused=99, away=Away(NOON - 60_000, NOON)), {"away": HIGH}),
        (StoreFacts(refused=100, away=Away(NOON - 5_000, NOON)), {"away": HIGH}),
        (StoreFacts(away=Away(NOON - 600_000, NOON)), {"away": CRITICAL}),
        (StoreFacts(memory_percent=95, evicts="allkeys-lru"), {"memory": CRITICAL, "evicts": MEDIUM}),
        (StoreFacts(failing=("aof_last_write_status",)), {"saving": CRITICAL}),
    ],
)
def test_store_trouble(facts: StoreFacts, expected: dict[str, Grade]) -> None:
    found = detect(Measures(store=facts), {})
    assert {one.facts["what"]: one.grade for one in found} == expected


def test_only_what_the_rules_want_is_looked_for() -> None:
    measures = Measures(failures=[Failures("openai", 100, 90)], store=StoreFacts(fastest_ms=900))
    assert [one.sort for one in detect(measures, {}, {Sort.STORE})] == [Sort.STORE]


@given(
    value=st.integers(0, 20_000),
    other=st.integers(0, 20_000),
    held=st.sampled_from([None, *Grade]),
    ladder=st.lists(st.integers(1, 15_000), min_size=4, max_size=4, unique=True).map(sorted),
)
def test_a_grade_is_kept_more_easily_than_reached_and_never_falls_when_it_gets_worse(
    value: int, other: int, held: Grade | None, ladder: list[int]
) -> None:
    steps = tuple(zip(Grade, ladder, strict=True))

    def rank(amount: int, kept: Grade | None) -> int:
        found = graded(amount, steps, kept)
        return -1 if found is None else found.rank

    assert rank(value, held) >= rank(value, None)
    assert (rank(min(value, other), held) <= rank(max(value, other), held)) is True
    reached = graded(value, steps, None)
    if reached is not None:  # a fifth less keeps it
        assert rank(value - value // 5, reached) >= reached.rank


# --- what becomes of incidents ---------------------------------------------------------------------------------------


def trouble(grade: Grade, cause: str = "runaway:batch") -> Trouble:
    return Trouble(Sort.RUNAWAY, cause, grade, "caller:batch", {})


def incident(grade: Grade = HIGH, **more: object) -> Incident:
    values = {"facts": {}, "opened_at": "2026-11-23T12:00:00.000+09:00", "grade": grade, "peak": grade} | more
    return Incident(id="i1", cause="runaway:batch", sort=Sort.RUNAWAY, target="caller:batch", **values)  # type: ignore[arg-type]


def taken(action: Action = Action.BLOCK_CALLER, until_ms: int = NOON + HOUR, entry: int = 5, **more: object) -> Taken:
    return Taken(action, "caller:batch", entry, until_ms, "", "spendgate", **{"automatic": True} | more)  # type: ignore[arg-type]


def step(
    known: Incident | None, *now: Trouble, quiet: Quiet | None = None, in_force: tuple[int, ...] = ()
) -> list[escalation.Step]:
    open_ = {known.cause: known} if known else {}
    hushed = {"runaway:batch": quiet} if quiet else {}
    return escalation.steps(open_, hushed, now, frozenset(in_force), 900_000, NOON)


def test_the_life_of_an_incident() -> None:
    assert step(None, trouble(HIGH)) == [Begins(trouble(HIGH))]
    assert step(incident(), trouble(HIGH)) == []
    assert step(incident(), trouble(CRITICAL)) == [Turns(incident(), trouble(CRITICAL))]
    assert step(incident(), trouble(LOW)) == [Marks(incident(), 0, NOON)]
    falling = incident(lower_ms=NOON - FALL_MS + 1)
    assert step(falling, trouble(LOW)) == []
    assert step(falling, trouble(HIGH)) == [Marks(falling, 0, 0)]
    fallen = incident(lower_ms=NOON - FALL_MS)
    assert step(fallen, trouble(LOW)) == [Turns(fallen, trouble(LOW))]
    assert step(incident()) == [Marks(incident(), NOON, 0)]
    assert step(incident(gone_ms=NOON - 899_999)) == []
    gone = incident(gone_ms=NOON - 900_000)
    assert step(gone) == [Ends(gone)]
    assert step(gone, trouble(HIGH)) == [Marks(gone, 0, 0)]


def test_what_a_person_resolved_is_quiet_unless_it_becomes_worse() -> None:
    quiet = Quiet(HIGH, NOON + HOUR)
    assert step(None, trouble(HIGH), quiet=quiet) == []
    assert step(None, trouble(CRITICAL), quiet=quiet) == [Begins(trouble(CRITICAL))]


def test_an_incident_is_not_over_while_a_block_hides_its_cause() -> None:
    hidden = incident(gone_ms=NOON - DAY, actions=(taken(),))
    assert step(hidden, in_force=(5,)) == []
    assert step(hidden) == [Ends(hidden)]  # somebody undid the block, and nothing came of it
    over = incident(gone_ms=NOON - DAY, actions=(taken(until_ms=NOON),))
    assert step(over, in_force=(5,)) == [Ends(over)]


@given(st.lists(st.tuples(st.sampled_from([None, *Grade]), st.integers(1, 600)), max_size=60))
def test_an_incident_gets_worse_at_once_and_better_slowly_whatever_comes(
    course: list[tuple[Grade | None, int]],
) -> None:
    known: Incident | None = None
    now_ms, last_bad_ms = NOON, NOON
    for grade, seconds in course:
        now_ms += seconds * 1000
        now = [trouble(grade)] if grade else []
        found = escalation.steps({known.cause: known} if known else {}, {}, now, frozenset(), 900_000, now_ms)
        assert len(found) <= 1
        for one in found:
            if isinstance(one, Begins):
                assert known is None
                known = incident(one.trouble.grade)
            elif isinstance(one, Turns):
                assert known is not None
                assert (
                    one.trouble.grade.rank > known.grade.rank or now_ms - known.lower_ms >= FALL_MS > 0 < known.lower_ms
                )
                known = incident(one.trouble.grade)
            elif isinstance(one, Marks):
                assert known is not None
                known = replace(known, gone_ms=one.gone_ms, lower_ms=one.lower_ms)
            else:
                assert now_ms - last_bad_ms >= 900_000
                known = None
        if grade:
            last_bad_ms = now_ms
            assert known is not None
            assert known.grade.rank >= grade.rank
            assert not known.gone_ms


# --- what can be done ----------------------------------------------------------------------------------------------

RULES = """
version: 1
budgets: [{name: monthly, limit: 15000}]
callers: [{name: batch, key_env: KEY}, {name: web, key_env: KEY2}]
apis: [{name: openai, upstream: "https://a.example.com", prices: [{per_request: 1}]}]
services: [{name: reports, priority: optional, apis: openai}, {name: shop, priority: important, apis: openai}]
"""
AUTOMATIC = "emergency: {automatic: {high: block_caller, critical: [stop_services, stop_all]}, spare: caller:web}\n"


def rules(more: str = "") -> RuleSet:
    loaded = rules_file.load_text(RULES + more, "rules.yaml", {"KEY": "b" * 20, "KEY2": "w" * 20})
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    return loaded.rules


@pytest.mark.parametrize(
    ("grade", "expected"),
    [
        (LOW, []),
        (MEDIUM, ["block_caller"]),
        (HIGH, ["block_caller", "stop_services"]),
        (CRITICAL, ["block_caller", "stop_services", "stop_all"]),
    ],
)
def test_what_is_proposed_grows_with_the_level_and_fits_what_it_is_about(grade: Grade, expected: list[str]) -> None:
    assert [one.value for one in escalation.proposed(incident(grade), rules(), {}, NOON)] == expected
    assert escalation.automatic(incident(grade), rules(), {}, NOON) == []


def test_what_is_automatic() -> None:
    own = rules(AUTOMATIC)
    assert escalation.automatic(incident(MEDIUM), own, {}, NOON) == []
    assert escalation.automatic(incident(HIGH), own, {}, NOON) == [Action.BLOCK_CALLER]
    every = [Action.BLOCK_CALLER, Action.STOP_SERVICES, Action.STOP_ALL]
    assert escalation.automatic(incident(CRITICAL), own, {}, NOON) == every
    spared = replace(incident(CRITICAL), target="caller:web")
    assert escalation.automatic(spared, own, {}, NOON) == every[1:]
    done = incident(HIGH, actions=(taken(),))
    assert escalation.automatic(done, own, {}, NOON) == []  # also where somebody undid it
    assert escalation.automatic(done, own, {}, NOON + HOUR) == [Action.BLOCK_CALLER]  # it goes on after the block
    assert escalation.automatic(incident(HIGH, gone_ms=1), own, {}, NOON) == []
    assert escalation.automatic(replace(incident(HIGH), target="caller:gone"), own, {}, NOON) == []
    decided = {"reports": "start"}
    assert escalation.automatic(incident(CRITICAL), own, decided, NOON) == [Action.BLOCK_CALLER, Action.STOP_ALL]


def test_what_stops_services_stops_the_optional_ones() -> None:
    assert escalation.targets(Action.STOP_SERVICES, incident(), rules(), {}) == ("service:reports",)
    storm = replace(incident(), sort=Sort.ERRORS, target="api:openai")
    assert escalation.targets(Action.STOP_SERVICES, storm, rules(), {}) == ()
    assert escalation.targets(Action.BLOCK_API, storm, rules(), {}) == ("api:openai",)
    assert escalation.targets(Action.BLOCK_CALLER, storm, rules(), {}) == ()


def test_an_action_holds_from_its_level_on() -> None:
    table = {LOW: (Action.STOP_SERVICES,), HIGH: (Action.BLOCK_API, Action.STOP_SERVICES)}
    assert from_grade_on(table, MEDIUM) == (Action.STOP_SERVICES,)
    assert from_grade_on(table, CRITICAL) == (Action.BLOCK_API, Action.STOP_SERVICES)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (incident(LOW), "info:0"),
        (incident(MEDIUM), "warning:0"),
        (incident(CRITICAL), "critical:0"),
        (incident(MEDIUM, told="warning"), None),  # the alert about its cause says enough
        (incident(MEDIUM, peak=HIGH, told="warning"), "critical:0"),  # became worse
        (incident(LOW, told="warning", actions=(taken(),)), "warning:1"),  # was acted upon
        (incident(LOW, told="warning", actions=(taken(automatic=False),)), None),  # a person knows what they did
    ],
)
def test_what_is_told_about_an_incident(known: Incident, expected: str | None) -> None:
    told = escalation.alert_key(known)
    assert (told and told[0].removeprefix("incident:i1:")) == expected


# --- rules.yaml -------------------------------------------------------------------------------------------------------


def test_the_section_as_written() -> None:
    text = (
        "emergency: {detect: [burn, store], proposed: {}, automatic: {low: block_api}, lasts: 30m, resolve_after: 5m}\n"
    )
    found = rules(text).emergency
    assert found == Emergency(frozenset({Sort.BURN, Sort.STORE}), {}, {LOW: (Action.BLOCK_API,)}, 1_800_000, 300_000)
    assert rules().emergency == Emergency()


# --- counters ---------------------------------------------------------------------------------------------------------


def test_counters_are_followed_over_midnight_and_never_more_is_said_than_happened() -> None:
    def at(minutes: int, day: str, spent: int) -> PaceSample:
        return PaceSample(NOON + minutes * 60_000, day, {}, {"caller|batch": spent})

    def read(one: PaceSample) -> int:
        return one.spent.get("caller|batch", 0)

    samples = [at(0, "23", 100), at(5, "23", 150), at(6, "24", 10), at(9, "24", 30)]
    now = at(10, "24", 70)
    assert pace.gained(samples, now, NOON, read) == 50 + 70
    assert pace.gained(samples, now, NOON + 5 * 60_000, read) == 70
    assert pace.gained(samples, now, NOON + 9 * 60_000, read) == 40
    assert pace.gained(samples, now, NOON - HOUR, read) == 120
    assert pace.gained([], now, NOON, read) == 0


def test_failures_are_compared_with_the_hours_before() -> None:
    def at(ms: int, calls: int, failed: int) -> PaceSample:
        return PaceSample(NOON + ms, "23", {}, {}, {"openai": calls}, {"openai": failed})

    samples = [at(-HOUR, 0, 0), at(-STORM_MS, 1000, 10)]
    assert pace.failures(samples, at(0, 1100, 90)) == [Failures("openai", 100, 80, 1000, 10)]
    assert PACE_MS > STORM_MS


# --- words ------------------------------------------------------------------------------------------------------------

EVERYTHING = Measures(
    fires=[Fire(status(), Burn(BURN_WINDOWS[0], won(600), 288, NOON + DAY), SEOUL, "")],
    unusual=[
        Unusual("api|openai", won(900), Band(won(100), won(300), "week", 5), "KRW", "2026-11-23T12:00:00+09:00", "")
    ],
    paces=[Pace("batch", status(), SEOUL, won(900), won(1000))],
    failures=[Failures("openai", 100, 80)],
    store=StoreFacts(900, 5, 2, 99, "allkeys-lru", ("rdb_last_bgsave_status",)),
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_incident_is_told_in_whole_sentences(language: str) -> None:
    found = detect(EVERYTHING, {})
    assert len(found) == 9
    for one in found:
        assert "{" not in incident_words.title_of(one.sort, one.facts, language)
        lines = incident_words.sentences_of(one.sort, one.facts, language)
        assert all(line.endswith(".") and "{" not in line for line in lines), lines
    (runaway,) = [one for one in found if one.sort is Sort.RUNAWAY]
    assert incident_words.sentences_of(runaway.sort, runaway.facts, "en") == [
        "The caller batch took 900 KRW of the budget monthly in 10 min, 90 % of everything that was spent. At this "
        "pace the 14,000 KRW that are left are gone in 2 h."
    ]
