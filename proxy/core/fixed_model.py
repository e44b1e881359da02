"""Costs that come without a call: rent that accrues by the hour, as compiled from rules.yaml's `fixed_costs`."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.core.model import Period

USUALLY_BELOW = Decimal(30)
USUALLY_GROWS_BP = 1000
USUAL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Gauge:
    """What Prometheus is asked about a resource. url: where it listens, without /api. token: sent as a bearer token.

    bound: of a utilisation, in the query's own unit: idle below it; of a size, basis points of growth in thirty days:
    grows from it on.
    """

    url: str
    query: str
    bound: Decimal
    timeout_s: float = USUAL_TIMEOUT_S
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FixedCost:
    """`amount` (exact, in `currency`) for each of `period`, spread evenly over it. api: None = counted for itself.

    utilisation, size: how much of what is paid for is used, and how large it is; None: nobody measures it.
    """

    name: str
    amount: Decimal
    currency: str
    period: Period
    api: str | None = None
    utilisation: Gauge | None = None
    size: Gauge | None = None

    @property
    def stands_under(self) -> str:
        """The name in the ledger and the roll-ups where an API's would be."""
        return self.api or self.name

    @property
    def rule(self) -> str:
        """What stands in the ledger and the roll-ups where a rule's id would be."""
        return f"fixed/{self.stands_under}"
