"""Free tiers and tiers: the calls of a period add up to the provider's bill, however they are cut."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import quota
from proxy.core.model import FreeTier, Period, PeriodUnit, Tiers, TierStep

MONTH = Period(PeriodUnit.MONTH)


def tiers(mode: str, *steps: tuple[int | None, str], of: str = "units") -> Tiers:
    return Tiers(
        mode, of, MONTH, tuple(TierStep(None if up_to is None else D(up_to), D(price)) for up_to, price in steps)
    )


STEPS = ((100, "10"), (1000, "7.5"), (None, "2"))


@pytest.mark.parametrize(
    ("mode", "position", "units", "cost"),
    [
        ("graduated", 0, 1, "10"),
        ("graduated", 99, 1, "10"),
        ("graduated", 100, 1, "7.5"),
        ("graduated", 99, 2, "17.5"),
        ("graduated", 0, 2000, "9750"),
        ("graduated", 5000, 3, "6"),
        ("volume", 0, 100, "1000"),
        ("volume", 100, 1, "-242.5"),
        ("volume", 0, 101, "757.5"),
        ("volume", 999, 1, "7.5"),
        ("volume", 2000, 10, "20"),
        ("graduated", 7, 0, "0"),
    ],
)
def test_cost_of_a_stretch(mode: str, position: int, units: int, cost: str) -> None:
    assert quota.tiers_cost(tiers(mode, *STEPS), position * 1000, units * 1000) == D(cost)


def bill(mode: str, steps: tuple[tuple[int | None, str], ...], quantity: int) -> D:
    """The provider's invoice for a whole period, worked out unit by unit."""

    def price_of(unit: int) -> D:
        return next(D(price) for up_to, price in steps if up_to is None or unit <= up_to)

    if mode == "volume":
        return quantity * price_of(quantity) if quantity else D(0)
    return sum((price_of(unit) for unit in range(1, quantity + 1)), D(0))


@given(
    st.sampled_from(["graduated", "volume"]),
    st.lists(st.integers(1, 40), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(["0", "0.5", "1.25", "3", "10"]), min_size=4, max_size=4),
    st.lists(st.integers(0, 30), max_size=8),
)
def test_calls_add_up_to_the_bill(mode: str, edges: list[int], prices: list[str], calls: list[int]) -> None:
    steps = (*zip(sorted(edges), prices, strict=False), (None, prices[-1]))
    schedule = tiers(mode, *steps)
    position = 0
    paid = D(0)
    for units in calls:
        paid += quota.tiers_cost(schedule, position * 1000, units * 1000)
        position += units
    assert paid == bill(mode, steps, position)


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_graduated_prices_are_additive_to_the_thousandth(position: int, first: int, second: int) -> None:
    schedule = tiers("graduated", (1, "10"), (2, "3"), (None, "1"))
    whole = quota.tiers_cost(schedule, position, first + second)
    parts = quota.tiers_cost(schedule, position, first) + quota.tiers_cost(schedule, position + first, second)
    assert whole == parts


@pytest.mark.parametrize(
    ("position", "units", "free"),
    [(0, 1000, 1000), (2000, 1000, 1000), (2500, 1000, 500), (3000, 1000, 0), (9000, 1, 0)],
)
def test_free_part(position: int, units: int, free: int) -> None:
    assert quota.free_part(FreeTier(D(3), "requests", MONTH), position, units) == free


def test_a_last_step_with_an_end_goes_on_at_its_price() -> None:
    assert quota.tiers_cost(tiers("graduated", (10, "2")), 5000, 10_000) == D(20)
    assert quota.tiers_cost(tiers("volume", (10, "2")), 5000, 10_000) == D(20)


@given(
    st.sampled_from(["graduated", "volume"]),
    st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(["0", "0.5", "1.25", "3", "10"]), min_size=4, max_size=4),
    st.integers(1, 8),
    st.integers(0, 30),
    st.integers(0, 8),
)
def test_the_step_of_a_position_covers_every_call_there(
    mode: str, edges: list[int], prices: list[str], most: int, position: int, units: int
) -> None:
    schedule = tiers(mode, *zip(sorted(edges), prices, strict=False), (None, prices[-1]))

    def cost_at(at: int, count: int) -> D:
        return quota.tiers_cost(schedule, at, count)

    steps = quota.worst_by_position(cost_at, most * 1000, quota.boundaries(None, schedule), or_fewer=True)
    assert [start for start, _ in steps] == sorted({start for start, _ in steps})
    assert steps[0][0] == 0
    held = [cost for start, cost in steps if start <= position * 1000][-1]
    assert held >= cost_at(position * 1000, min(units, most) * 1000)
