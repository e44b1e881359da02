"""What rules.yaml's `optimize` says, as compiled."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Offer:
    """A subscription that covers all calls of an API; price: of a month, in `currency`."""

    name: str
    api: str
    price: Decimal
    currency: str
