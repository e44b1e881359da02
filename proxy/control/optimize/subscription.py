"""Subscriptions of rules.yaml's `optimize` that cost less than the calls they cover."""

from __future__ import annotations

from decimal import Decimal

from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding
from proxy.core import money
from proxy.core.windows import local_day


def find(facts: Facts) -> list[Finding]:
    rules, found = facts.rules, []
    for offer in rules.offers:
        paid = {w: facts.monthly(g.cost) for w, g in facts.groups.items() if w[0] == offer.api and g.cost > 0}
        today = local_day(facts.now_ms, rules.timezone)
        try:
            price, _, _ = money.convert(offer.price, offer.currency, rules.currency, rules.fx, rules.currency, today)
        except money.NoRate:
            continue
        spent, month = sum(paid.values()), money.to_atoms(Decimal(price), rules.currency, "up")
        if spent <= month:
            continue
        # Each group gives up its share; the price of the subscription is shared the same way.
        savings = {where: cost * (spent - month) // spent for where, cost in paid.items()}
        evidence: dict[str, str | int] = {
            "api": offer.api,
            "spent": money.format_text(spent // 10**6 * 10**6, rules.currency),
            "price": f"{money.plain(offer.price)} {offer.currency}",
            "about": offer.name,
        }
        change = (
            "# at the top, in place of its entry under optimize\n"
            f"fixed_costs:\n  - {{name: {offer.name}, amount: {money.plain(offer.price)}, currency: {offer.currency}, "
            f"per: month, api: {offer.api}}}\n"
            f"# under the API {offer.api}, before its other prices\n"
            f"- {{name: {offer.name}, free: true}}\n"
        )
        found.append(Finding("subscription", offer.name, savings, 3, evidence, change))
    return found
