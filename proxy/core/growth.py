"""How a stream's reservation grows while it runs: decides the next total to ask for, never asks itself.

A reservation must always be ahead of what the API has already produced, because what is produced is billed. It grows in
steps so that the store is asked rarely; where the money runs short, a step shrinks to what is needed now, so that a
budget is used to its end.
"""

from __future__ import annotations

from dataclasses import dataclass

# Share of the need that one step adds on top; larger means fewer questions but more money held idle.
STEP_NUMERATOR, STEP_DENOMINATOR = 1, 4


@dataclass(frozen=True, slots=True)
class Grow:
    """Ask for `total_atoms`; if that is refused, `least_atoms` is still worth asking for."""

    total_atoms: int
    least_atoms: int


def next_reservation(*, needed_atoms: int, reserved_atoms: int) -> Grow | None:
    """What to ask for now, or None while the reservation covers the need.

    needed_atoms: bill of what was seen so far, and of what may arrive before the stream could be ended.
    """
    if reserved_atoms >= needed_atoms:
        return None
    step = -(-needed_atoms * STEP_NUMERATOR // STEP_DENOMINATOR)
    return Grow(total_atoms=needed_atoms + step, least_atoms=needed_atoms)


def second_try(grow: Grow, *, reserved_atoms: int, free_atoms: int | None) -> int | None:
    """The total to ask for when `grow.total_atoms` was refused, or None: the money does not reach for the need.

    free_atoms: what the budget that refused has left beside all reservations; None: not known in this currency. All of
    it is taken at once, so that a stream asks twice at the end of a budget and not twice a token.
    """
    if free_atoms is None:
        return grow.least_atoms
    total = min(grow.total_atoms, reserved_atoms + free_atoms)
    return total if total >= grow.least_atoms else None
