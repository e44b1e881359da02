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
