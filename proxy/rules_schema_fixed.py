"""The grammar of `fixed_costs`: what is paid without a call."""

from __future__ import annotations

from proxy.rules_grammar import Model, key, must
from proxy.rules_terms import PeriodText
from proxy.rules_values import Amount, Currency, Name


class FixedCostSpec(Model):
    """A rent: a server, a database plan, a subscription. It accrues by the hour."""

    name: Name = must("Name of the cost, unique in the file.")
    amount: Amount = must("What one period costs.")
    per: PeriodText = key("hour, day, week, month (default) or year.")
    currency: Currency = key("Currency of the amount; without it that of the file.")
    api: Name = key("Counts for this API, too: its budgets, its line in the ledger.")
