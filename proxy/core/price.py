"""Decides what a call may cost before it is made, what it has cost so far, and what it did cost.

The three questions of the request's page. Values in, values out: the instant, the quota position and what was learned
are arguments. The lines of the sum come from core/terms.py, what the answer told from core/meter.py.

How sure the ledger may be (`State`):

- settled: priced from what the answer told, read by a proven reader; or nothing was charged (status, free endpoint).
- estimated: the answer should have told its usage and did not (the estimate stands), was cut, or was read by a shape
  that the catalogue does not vouch for.
- unpriced: the catalogue knows no price for the model, or the endpoint is billed by something else than its answer.

Which figure counts when the provider reports its own cost (OpenRouter, Perplexity, x.ai): the catalogue's, as long as
both agree within 2 %, because it is exact while reported ones are rounded; the provider's where they differ by more,
because then it carries fees a call that the catalogue does not know (a hosted search, the size of a search context) or
a price that it had not heard of.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from proxy.core import amounts, catalog, demand, quota, terms, tokens
from proxy.core.endpoint import Billing, endpoint_of
from proxy.core.model import (
    Bill,
    Cost,
    Estimate,
    EstimateMode,
    Outbound,
    Period,
    PeriodUnit,
    Price,
    Quota,
    QuotaStep,
    Rule,
    RuleSet,
    State,
    Term,
    Usage,
)

_ZERO = Decimal(0)
_DAY = Period(PeriodUnit.DAY)
_AGREE = Decimal("0.02")  # share of the catalogue's price by which a provider's own figure may differ and still agree
_NO_COUNTS: Mapping[str, int] = MappingProxyType({})
_FREE, _USAGE, _SEPARATE = Billing.FREE, Billing.USAGE, Billing.SEPARATE  # looked up once: that is slow of an enum

UNPRICED_MODEL = "unpriced_model"
UNPRICED_ENDPOINT = "unpriced_endpoint"
# Of a conversation not everything was told: an answer was cut, a message was too large, another model was used beside.
PARTLY_TOLD = frozenset({"answer_cut", "message_unread", "other_usage"})


_COUNTED_EXACTLY = frozenset({"openai", "azure", "openrouter", "github-copilot"})


def warm(rules: RuleSet) -> None:
    """Load the catalogue and the vocabularies that these rules can need (half a second, once a process).

    Call it where nobody waits: at the start and before rules are swapped.
    """
    providers = {rule.price.catalog for api in rules.apis for rule in api.rules if rule.price.catalog is not None}
    if providers:
        catalog.known("")
    if providers & _COUNTED_EXACTLY:
        tokens.load("gpt-4o")


# --- before ----------------------------------------------------------------------------------------------------------


def estimate(
    rules: RuleSet, rule: Rule, outbound: Outbound, now_ms: int, learned: int | None = None, *, explain: bool = True
) -> Estimate:
    """The most that a call may cost, or, with `estimate: learned`, what nearly all such calls have cost.

    learned: the 99th percentile in atoms of the rules' currency; None: nothing was learned yet, the worst case holds.
    explain: False where the lines of the sum are wanted for the ledger alone (`Cost.said` may stand for them).
    An Estimate with a `problem` reserves nothing.
    """
    price = rule.price
    if price.free:
        return Estimate(amounts.nothing(rules, price), "free")
    if price.catalog is None and price.tokens is None:
        parts = terms.fixed_before(rule, outbound)
        return _estimated(rules, rule, parts, now_ms, learned, None, _NO_COUNTS)
    provider = price.catalog
    endpoint = endpoint_of(provider or "", outbound)
    billing = endpoint.billing
    if billing is _FREE:
        return Estimate(amounts.nothing(rules, price), "free")
    request = demand.read(outbound)
    model = demand.model_of(outbound, endpoint, request)
    entry = None
    if provider is not None:
        if model:
            entry = catalog.find(provider, model)
        elif billing is _USAGE:
            entry = catalog.dearest(provider, now_ms)  # the body does not show which: it may be any
    if provider is not None and (entry is None or billing is _SEPARATE or _has_no_price(entry, now_ms)):
        problem = UNPRICED_ENDPOINT if billing is _SEPARATE else UNPRICED_MODEL
        if entry is not None and entry.given_away and billing is _USAGE:
            return Estimate(amounts.nothing(rules, price), "free", model)
        return Estimate(amounts.nothing(rules, price), "exact", model, problem=problem)
    wanted = demand.of(outbound, endpoint, rule, entry.context_window if entry else None, model, request)
    if not explain and learned is None and entry is not None:
        known = amounts.tariff_of(rules, price, entry, now_ms)
        if known is not None and (cost := known.before(wanted, entry.implicit_cache_writes or wanted.writes_cache)):
            return Estimate(cost, "worst_case", model, wanted.counts, None, wanted.bounded)
    parts = terms.fixed_before(rule, outbound)
    parts.exact = False
    if entry is not None:
        parts.terms += amounts.in_currency(rules, price, terms.catalog_before(entry, wanted, now_ms), now_ms)
    elif price.tokens is not None:
        parts.terms += terms.tokens_before(price.tokens, wanted)
    return _estimated(rules, rule, parts, now_ms, learned, model, wanted.counts, wanted.bounded)


def _estimated(
    rules: RuleSet,
    rule: Rule,
    parts: terms.Parts,
    now_ms: int,
    learned: int | None,
    model: str | None,
    counts: Mapping[str, int],
    bounded: bool = False,
) -> Estimate:
    price = rule.price
    drawn = _quota(rules, rule, parts, now_ms) if price.tiers is not None or price.free_tier is not None else None
    if learned is not None and rule.estimate is EstimateMode.LEARNED and not parts.exact:
        return Estimate(amounts.learned(rules, price, max(1, learned), now_ms), "learned", model, counts, drawn)
    basis = "exact" if parts.exact else "worst_case"
    if drawn is not None:
        dearest = max(drawn.steps, key=lambda step: step.cost.atoms[rules.currency])
        return Estimate(dearest.cost, basis, model, counts, drawn, bounded)
    lines = parts.terms
    if terms.has_adjustments(price):
        lines = terms.adjusted(price, parts, 0, parts.units, rules.timezone, now_ms)
    return Estimate(amounts.cost(rules, price.currency, lines, now_ms, "up"), basis, model, counts, None, bounded)


def _quota(rules: RuleSet, rule: Rule, parts: terms.Parts, now_ms: int) -> Quota:
    price = rule.price
    period = price.tiers.period if price.tiers is not None else price.free_tier.period  # type: ignore[union-attr]

    def lines_at(position: int, units: int) -> list[Term]:
        return terms.adjusted(price, parts, position, units, rules.timezone, now_ms)

    def cost_at(position: int, units: int) -> Decimal:
        return terms.total(lines_at(position, units))

    volume_units = price.tiers is not None and price.tiers.mode == "volume" and price.tiers.of == "units"
    edges = quota.boundaries(price.free_tier, price.tiers)
    worst = quota.worst_by_position(cost_at, parts.units, edges, or_fewer=volume_units)
    steps = []
    for start, amount in worst:
        lines = lines_at(start, parts.units)
        if terms.total(lines) != amount:  # the dearest call of this stretch does not begin at its start
            lines = [Term("worst_case", Decimal(1), amount, amount)]
        steps.append(QuotaStep(start, amounts.cost(rules, price.currency, lines, now_ms, "up")))
    return Quota(rule.id, period, parts.units, tuple(steps))


# --- while it runs ---------------------------------------------------------------------------------------------------


def running(
    rules: RuleSet, rule: Rule, outbound: Outbound, estimate: Estimate, usage: Usage, now_ms: int, ahead: int = 0
) -> int:
    """Atoms of the rules' currency that a call has consumed so far, or will have with `ahead` more output tokens.

    Input counts as the answer told it, else as estimated; output as the text that was seen. Never below what will be
    billed for that.
    """
    if rule.price.free or estimate.basis == "free" or estimate.problem is not None:
        return 0
    if rule.price.tiers is not None or rule.price.free_tier is not None:
        return estimate.cost.atoms[rules.currency]
    lines = _so_far(rules, rule, outbound, estimate, usage, now_ms, ahead)
    return amounts.cost(rules, rule.price.currency, lines, now_ms, "up").atoms[rules.currency]


def in_proportion(reserved: Mapping[str, int], currency: str, total_atoms: int) -> dict[str, int]:
    """A reservation grown to a new total in one currency: the other currencies grow by the same share, rounded up."""
    base = reserved.get(currency, 0)
    if base <= 0:
        return {**reserved, currency: total_atoms}
    return {
        name: total_atoms if name == currency else -(-atoms * total_atoms // base) for name, atoms in reserved.items()
    }


def _so_far(
    rules: RuleSet, rule: Rule, outbound: Outbound, estimate: Estimate, usage: Usage, now_ms: int, ahead: int = 0
) -> list[Term]:
    price = rule.price
    parts = terms.fixed_after(rule, outbound, usage)
    if parts.failed is not None:  # an expression over the answer: its worst case stands until the end
        parts = terms.fixed_before(rule, outbound)
    counts = dict(usage.counts)
    told = "input_tokens" in counts
    seen = max(counts.get("output_tokens", 0), usage.tokens_seen) + ahead
    if price.tokens is not None:
        if told:
            counts["output_tokens"] = seen
            parts.terms += terms.tokens_after(price.tokens, counts)
        else:
            assumed = demand.Demand(
                None, {"input_tokens": estimate.usage.get("input_tokens", 0), "output_tokens": seen}
            )
            parts.terms += terms.tokens_before(price.tokens, assumed)
    elif price.catalog is not None:
        entry = _entry(price.catalog, usage, estimate)
        if entry is not None:
            if told:
                counts["output_tokens"] = seen
                lines = entry.terms(counts, now_ms, strict=False)
            else:
                counts = {**estimate.usage, "output_tokens": seen}
                counts.pop("web_searches", None)
                lines = terms.catalog_before(entry, demand.Demand(None, counts), now_ms)
            parts.terms += amounts.in_currency(rules, price, lines, now_ms)
    if terms.has_adjustments(price):
        return terms.adjusted(price, parts, 0, parts.units, rules.timezone, now_ms)
    return parts.terms


# --- after -----------------------------------------------------------------------------------------------------------


def actual(
    rules: RuleSet,
    rule: Rule,
    outbound: Outbound,
    estimate: Estimate,
    usage: Usage,
    position: int | None,
    now_ms: int,
    *,
    explain: bool = True,
) -> Bill:
    """The price of a call that has ended, in whatever way.

    explain: False where the lines of the sum are wanted for the ledger alone (`Cost.said` may stand for them).
    position: where the call's first unit stands in the rule's quota (thousandths), as drawn at its admission. A volume
    price may make the call that reaches a cheaper step cost less than nothing: the period's sum is the provider's bill.
    """
    price = rule.price
    counts = usage.counts
    if price.free or estimate.basis == "free":
        return Bill(amounts.nothing(rules, price), State.SETTLED, counts)
    if usage.status is None:
        if not usage.sent:
            return Bill(amounts.nothing(rules, price), State.SETTLED, counts, 0, "not_sent")
        return _stands(rules, estimate, usage, position, "no_response")
    if usage.status not in price.charge_on and not (outbound.websocket and usage.status == 101):
        return Bill(amounts.nothing(rules, price), State.SETTLED, counts, 0)
    if price.catalog is None and price.tokens is None:
        parts = terms.fixed_after(rule, outbound, usage)
        if parts.failed is not None:
            return _stands(rules, estimate, usage, position, "expression_failed")
        # A count of nothing may be right, or a field that the rule misspells: said aloud, so that somebody looks.
        note = "zero_units" if price.per_unit and not any(line.amount for line in parts.terms) else None
        return _billed(rules, rule, parts, counts, position, now_ms, State.SETTLED, note)
    if not usage.found:
        return _without_usage(rules, rule, outbound, estimate, usage, position, now_ms)
    if not explain and price.catalog is not None:
        bill = _by_tariff(rules, price, outbound, estimate, usage, now_ms)
        if bill is not None:
            return bill
    parts = terms.fixed_after(rule, outbound, usage)
    if parts.failed is not None:
        return _stands(rules, estimate, usage, position, "expression_failed")
    if price.tokens is not None:
        parts.terms += terms.tokens_after(price.tokens, counts)
        partly = usage.detail if usage.detail in PARTLY_TOLD else None
        state = State.ESTIMATED if partly else State.SETTLED
        return _billed(rules, rule, parts, counts, position, now_ms, state, partly)
    state, note = _catalogue_lines(rules, rule, outbound, estimate, usage, parts, now_ms)
    if state is State.UNPRICED:
        return Bill(amounts.nothing(rules, price), state, counts, note=note)
    return _billed(rules, rule, parts, counts, position, now_ms, state, note)


def _by_tariff(
    rules: RuleSet, price: Price, outbound: Outbound, estimate: Estimate, usage: Usage, now_ms: int
) -> Bill | None:
    """The bill of an ordinary call; None: it is not one."""
    provider = price.catalog or ""
    if usage.reported_cost is not None or usage.detail is not None:
        return None
    if endpoint_of(provider, outbound).billing is not Billing.USAGE:
        return None
    known = amounts.tariff_named(rules, price, usage.model, estimate.model, now_ms)
    cost = known.after(usage.counts) if known is not None else None
    return None if cost is None else Bill(cost, State.SETTLED, usage.counts, None, _tier_note(usage))


def _catalogue_lines(
    rules: RuleSet, rule: Rule, outbound: Outbound, estimate: Estimate, usage: Usage, parts: terms.Parts, now_ms: int
) -> tuple[State, str | None]:
    """Add the catalogue's lines for the usage told; says how sure they are. UNPRICED: there are none."""
    price = rule.price
    provider = price.catalog or ""
    billing = endpoint_of(provider, outbound).billing
    reported = usage.reported_cost
    if billing is Billing.SEPARATE:
        return State.UNPRICED, UNPRICED_ENDPOINT
    entry = _entry(provider, usage, estimate)
    lines: list[Term] = []
    state, note = State.SETTLED, None
    if entry is None or (not entry.given_away and _has_no_price(entry, now_ms)):
        if not reported:
            return State.UNPRICED, UNPRICED_MODEL
        state, note = State.ESTIMATED, "provider_reported"
    else:
        try:
            lines = entry.terms(usage.counts, now_ms)
        except catalog.Inconsistent:
            state, note = State.ESTIMATED, "usage_inconsistent"
            lines = entry.terms(usage.counts, now_ms, strict=False) if reported is None else []
        else:
            if not lines and not entry.given_away and any(usage.counts.values()) and not reported:
                return State.UNPRICED, "unpriced_usage"
    if billing is Billing.UNKNOWN:
        state, note = State.ESTIMATED, "unknown_endpoint"
    elif (usage.detail == "usage_assumed" or usage.detail in PARTLY_TOLD) and state is State.SETTLED:
        state, note = State.ESTIMATED, usage.detail
    if reported is not None:
        ours = terms.total(lines)
        if abs(reported - ours) > _AGREE * ours:
            lines.append(Term("provider_reported", Decimal(1), reported - ours, reported - ours))
            note = note or "provider_reported"
    parts.terms += amounts.in_currency(rules, price, lines, now_ms)
    return state, note or _tier_note(usage)


def _without_usage(
    rules: RuleSet, rule: Rule, outbound: Outbound, estimate: Estimate, usage: Usage, position: int | None, now_ms: int
) -> Bill:
    if estimate.problem is not None:
        return Bill(estimate.cost, State.UNPRICED, usage.counts, note=estimate.problem)
    if usage.complete:
        return _stands(rules, estimate, usage, position, "usage_missing")
    if estimate.quota is not None:
        return _stands(rules, estimate, usage, position, "cut")
    lines = _so_far(rules, rule, outbound, estimate, usage, now_ms)
    counts = {**estimate.usage, **usage.counts}
    counts["output_tokens"] = max(usage.counts.get("output_tokens", 0), usage.tokens_seen)
    return Bill(amounts.cost(rules, rule.price.currency, lines, now_ms, "up"), State.ESTIMATED, counts, note="cut")


def _stands(rules: RuleSet, estimate: Estimate, usage: Usage, position: int | None, note: str) -> Bill:
    """Nobody said what the call cost: what was reserved for it is taken."""
    cost = quota.cost_at(estimate, position)
    if estimate.problem is not None:
        return Bill(cost, State.UNPRICED, usage.counts, note=estimate.problem)
    return Bill(cost, State.ESTIMATED, usage.counts or estimate.usage, note=note)


def _billed(
    rules: RuleSet,
    rule: Rule,
    parts: terms.Parts,
    counts: Mapping[str, int],
    position: int | None,
    now_ms: int,
    state: State,
    note: str | None,
) -> Bill:
    price = rule.price
    lines = parts.terms
    if terms.has_adjustments(price):
        lines = terms.adjusted(price, parts, position or 0, parts.units, rules.timezone, now_ms)
    draws = price.tiers is not None or price.free_tier is not None
    cost = amounts.cost(rules, price.currency, lines, now_ms, "half_up")
    return Bill(cost, state, counts, parts.units if draws else None, note)


def _entry(provider: str, usage: Usage, estimate: Estimate) -> catalog.Entry | None:
    """By the model that answered, else by the one that was asked for."""
    return catalog.find_first(provider, usage.model, estimate.model)


def _has_no_price(entry: catalog.Entry, now_ms: int) -> bool:
    return entry.price(now_ms).is_zero


def _tier_note(usage: Usage) -> str | None:
    """A tier that is billed differently is said aloud: the catalogue's standard price was taken."""
    return "service_tier" if usage.service_tier in ("priority", "flex", "batch", "fast") else None


# --- stated by the program itself ------------------------------------------------------------------------------------


def stated(rules: RuleSet, amount: Decimal, currency: str, now_ms: int, rounding: str) -> Cost:
    """The cost of a call whose program says itself what it is. Raises money.NoRate for a currency without a rate."""
    return amounts.cost(rules, currency, [Term("stated", Decimal(1), amount, amount)], now_ms, rounding)
