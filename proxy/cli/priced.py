"""One call as the rules see it: what `spendgate price` has worked out and either of its two forms shows."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.cli.exchange import Request
from proxy.core.model import Api, Bill, Estimate, Rule


@dataclass(frozen=True, slots=True)
class Priced:
    """One call as the rules see it. bill is None without a response; rule is None when nothing matched."""

    request: Request
    api: Api | None
    tried: tuple[tuple[Rule, str | None], ...]
    rule: Rule | None
    estimate: Estimate | None
    bill: Bill | None
    observed: bool  # no rule, but the rules let such calls pass
