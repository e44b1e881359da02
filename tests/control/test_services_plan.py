"""Which services stop at which line, in which order, and how a failing one holds up nobody."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from proxy.control.services_plan import PATIENCE, Pressure, State, failed, ranks, rehearsal, steps, wanted
from proxy.core.rules_services import find_circle
from proxy.core.services_model import Command, Service


def service(name: str, priority: str = "optional", *needs: str, budgets: tuple[str, ...] = ()) -> Service:
    return Service(name, priority, needs, budgets, Command(("true",), ("true",), None), 30.0, False)


# As in the specification: what is essential, important and optional.
HOUSE = (
    service("database", "essential"),
    service("ai_processing", "important", "database"),
    service("api_calls", "important"),
    service("auto_scaling", "optional", "ai_processing"),
    service("analytics", "optional", "api_calls", "auto_scaling"),
)


def want(pressure: Pressure, hand: dict[str, str] | None = None) -> dict[str, bool]:
    found = wanted(HOUSE, {"monthly": pressure}, ["monthly"], hand or {})
    return {name: runs for name, (runs, _) in found.items()}


def plan(pressure: Pressure, states: dict[str, State] | None = None) -> list[list[tuple[str, bool]]]:
    needed = wanted(HOUSE, {"monthly": pressure}, ["monthly"], {})
    return [[(step.service.name, step.start) for step in batch] for batch in rehearsal(HOUSE, needed, states or {})]


def test_optional_stops_at_95_important_too_at_100_essential_never() -> None:
    assert [name for name, runs in want(Pressure.NONE).items() if not runs] == []
    assert [name for name, runs in want(Pressure.RESTRICTED).items() if not runs] == ["auto_scaling", "analytics"]
    assert [name for name, runs in want(Pressure.STOPPED).items() if runs] == ["database"]


def test_dependants_stop_first_and_start_last() -> None:
    assert plan(Pressure.STOPPED) == [
        [("analytics", False)],
        [("api_calls", False), ("auto_scaling", False)],
        [("ai_processing", False)],
    ]
    down = {name: State(runs=False) for name in ("ai_processing", "api_calls", "auto_scaling", "analytics")}
    assert plan(Pressure.NONE, down) == [
        [("ai_processing", True), ("api_calls", True)],
        [("auto_scaling", True)],
        [("analytics", True)],
    ]
    assert plan(Pressure.RESTRICTED, down) == [[("ai_processing", True), ("api_calls", True)]]


def test_what_an_essential_service_needs_counts_as_essential() -> None:
    house = (service("shop", "essential", "cache"), service("cache", "optional", "disk"), service("disk"))
    assert set(ranks(house).values()) == {"essential"}
    assert all(runs for runs, _ in wanted(house, {"m": Pressure.STOPPED}, ["m"], {}).values())


def test_a_person_beats_the_money_and_takes_dependants_along() -> None:
    assert want(Pressure.STOPPED, {"api_calls": "start"})["api_calls"]
    found = want(Pressure.NONE, {"api_calls": "stop"})
    assert [name for name, runs in found.items() if not runs] == ["api_calls", "analytics"]


def test_a_service_follows_the_budgets_it_names() -> None:
    house = (service("gpu", budgets=("gpu",)), service("rest"))
    levels = {"gpu": Pressure.RESTRICTED, "monthly": Pressure.NONE}
    found = wanted(house, levels, ["monthly"], {})
    assert found == {"gpu": (False, "budget:gpu"), "rest": (True, "money")}


def test_a_failing_step_is_tried_again_later_and_after_some_time_holds_up_nobody() -> None:
    needed = wanted(HOUSE, {"monthly": Pressure.RESTRICTED}, ["monthly"], {})
    states: dict[str, State] = {}
    now_ms, waited = 0, []
    for _ in range(PATIENCE):
        (step,) = steps(HOUSE, needed, states, now_ms)
        assert step.service.name == "analytics"
        states["analytics"] = failed(states.get("analytics", State()), "no such host", now_ms)
        waited.append(states["analytics"].next_ms - now_ms)
        if len(waited) < PATIENCE:
            assert steps(HOUSE, needed, states, states["analytics"].next_ms - 1) == []
            now_ms = states["analytics"].next_ms
    assert waited == [1000, 2000, 4000]
    assert [step.service.name for step in steps(HOUSE, needed, states, now_ms)] == ["auto_scaling"]
    later = states["analytics"].next_ms
    assert [step.service.name for step in steps(HOUSE, needed, states, later)] == ["auto_scaling", "analytics"]


@given(st.data())
def test_in_any_house_order_is_kept_and_everything_ends_as_wanted(data: st.DataObject) -> None:
    names = [f"s{n}" for n in range(data.draw(st.integers(1, 7)))]
    house = tuple(
        service(
            name,
            data.draw(st.sampled_from(["essential", "important", "optional"])),
            *(other for other in names[:index] if data.draw(st.booleans())),
        )
        for index, name in enumerate(names)
    )
    pressure = data.draw(st.sampled_from(list(Pressure)))
    states = {name: State(runs=data.draw(st.sampled_from([True, False, None]))) for name in names}
    needed = wanted(house, {"m": pressure}, ["m"], {})
    rounds = rehearsal(house, needed, states)
    when = {step.service.name: (index, step.start) for index, batch in enumerate(rounds) for step in batch}
    assert len(when) == sum(len(batch) for batch in rounds), "nothing is done twice"
    for one in house:
        assert needed[one.name][0] or one.priority != "essential"
        runs = states[one.name].runs is not False
        assert (one.name in when) == (runs != needed[one.name][0])
        for other in one.depends_on:
            if one.name in when and other in when:
                (mine, start), (theirs, other_start) = when[one.name], when[other]
                if start and other_start:
                    assert mine > theirs
                if not start and not other_start:
                    assert mine < theirs


def test_a_circle_is_found_and_named() -> None:
    assert find_circle({"a": ("b",), "b": ("c",), "c": ()}) == ()
    circle = find_circle({"a": ("b",), "b": ("c",), "c": ("b",)})
    assert circle[0] == circle[-1]
    assert {*circle} == {"b", "c"}
    wide = {f"n{n}": tuple(f"n{m}" for m in range(n)) for n in range(60)}
    assert find_circle(wide) == (), "a wide net takes no time"
    assert all(find_circle({**wide, "n0": (f"n{n}",)}) for n, _ in itertools.islice(enumerate(wide), 1, 5))
