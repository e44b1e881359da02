"""Costs that come without a call: rent that accrues by the hour, as compiled from rules.yaml's `fixed_costs`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.core.model import Period


@dataclass(frozen=True, slots=True)
class FixedCost:
    """`amount` (exact, in `currency`) for each of `period`, spread evenly over it. api: None = counted for itself."""

    name: str
    amount: Decimal
    currency: str
    period: Period
    api: str | None = None
