"""When a stream's reservation grows, and by how much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.growth import Grow, next_reservation

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
