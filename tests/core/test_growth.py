"""When a stream's reservation grows, and by how much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.growth import Grow, next_reservation, second_try

ATOMS = st.integers(min_value=0, max_value=2**53)


def test_a_reservation_that_covers_the_need_is_left_alone() -> None:
    assert next_reservation(needed_atoms=100, reserved_atoms=100) is None
    assert next_reservation(needed_atoms=99, reserved_atoms=100) is None


def test_a_step_adds_a_quarter_rounded_up() -> None:
    assert next_reservation(needed_atoms=101, reserved_atoms=100) == Grow(total_atoms=127, least_atoms=101)


@given(ATOMS, ATOMS)
def test_what_is_asked_for_always_covers_the_need(needed: int, reserved: int) -> None:
    grow = next_reservation(needed_atoms=needed, reserved_atoms=reserved)
    if grow is None:
        assert reserved >= needed
    else:
        assert reserved < needed == grow.least_atoms <= grow.total_atoms


@pytest.mark.parametrize(
    ("free", "asked"),
    [
        (None, 101),  # not known: the need itself
        (0, None),
        (20, None),  # 80 + 20 does not reach the need
        (21, 101),
        (30, 110),  # all that is left
        (500, 127),  # somebody released meanwhile: the step as it was wanted
    ],
)
def test_a_refused_step_shrinks_to_what_is_left_or_to_nothing(free: int | None, asked: int | None) -> None:
    grow = Grow(total_atoms=127, least_atoms=101)
    assert second_try(grow, reserved_atoms=80, free_atoms=free) == asked


@given(ATOMS, ATOMS, ATOMS)
def test_a_second_try_covers_the_need_and_takes_no_more_than_is_free(needed: int, reserved: int, free: int) -> None:
    grow = next_reservation(needed_atoms=needed, reserved_atoms=reserved)
    if grow is not None:
        total = second_try(grow, reserved_atoms=reserved, free_atoms=free)
        if total is None:
            assert reserved + free < needed
        else:
            assert needed <= total <= reserved + free
