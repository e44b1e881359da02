"""What a percentage of a limit is in atoms, and what reaching it does to calls.

Pure. Thresholds are basis points (9500 = 95 %); `limit_atoms` is the limit that holds, with what was added to it.
"""

from __future__ import annotations

from proxy.core.model import Budget


def threshold_atoms(limit_atoms: int, basis_points: int) -> int:
    """The first amount that has reached the threshold: rounded up, so never early."""
    return -(-limit_atoms * basis_points // 10_000)


def percent_text(basis_points: int) -> str:
    """7000 -> "70", 7250 -> "72.5"."""
    whole, part = divmod(basis_points, 100)
    return f"{whole}.{part:02d}".rstrip("0") if part else str(whole)


def from_percent(percent: str) -> int:
    """ "72.5" -> 7250. Raises ValueError."""
    whole, _, part = percent.partition(".")
    return int(whole) * 100 + int((part + "00")[:2])


def reached(budget: Budget, limit_atoms: int, spent_atoms: int) -> int | None:
    """The highest threshold that the spending has reached; None before the first one."""
    passed = [bp for bp in budget.thresholds_bp() if spent_atoms >= threshold_atoms(limit_atoms, bp)]
    return max(passed, default=None)


def effect(budget: Budget, basis_points: int) -> str:
    """What reaching the threshold does: "warn" (nothing), "restrict" (essential calls only) or "stop"."""
    if basis_points >= budget.stop_bp:
        return "stop"
    return "restrict" if basis_points >= budget.restrict_bp else "warn"


_STATES = {"warn": "warning", "restrict": "restricted", "stop": "stopped"}


def budget_state(budget: Budget, spent_atoms: int, limit_atoms: int) -> str:
    """ "ok" | "warning" (a warn threshold passed) | "restricted" (essential calls only) | "stopped"."""
    top = reached(budget, limit_atoms, spent_atoms)
    return "ok" if top is None else _STATES[effect(budget, top)]
