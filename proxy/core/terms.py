"""Decides the lines of a price's sum: what each part of a rule's price makes of a call, in the price's own currency.

Two views of the same parts: what a call may cost at most (before), and what it did cost (after). Knows nothing of
statuses, states or reservations; core/price.py decides which view counts. The order of the lines is that of the rule
grammar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from proxy.core import catalog, expression, money, quota
from proxy.core.demand import Demand
from proxy.core.model import Outbound, PerUnit, Price, Rule, Term, TimeOfDay, TokenPrices, Usage

_ZERO, _ONE, _KB, _MILLION = Decimal(0), Decimal(1), Decimal(1024), Decimal(1_000_000)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Parts:
    """Lines before any adjustment. units: thousandths drawn from the rule's quota. exact: known before the call."""

    terms: list[Term]
    units: int = 1000
    exact: bool = True
    failed: str | None = None  # why an expression gave no number


# --- everything but tokens -------------------------------------------------------------------------------------------


def fixed_before(rule: Rule, outbound: Outbound) -> Parts:
    """The lines that do not depend on tokens, as large as they can become."""
    price = rule.price
    parts = Parts([])
    if price.per_request is not None:
        parts.terms.append(Term("per_request", _ONE, price.per_request, price.per_request))
    if price.per_unit:
        _units_before(price, outbound, parts)
    if price.per_kb is not None:
        size = outbound.body_size if outbound.body_size is not None else len(outbound.body) if outbound.body else None
        most = Decimal(rule.max_kb)
        tunnel = outbound.scheme == "connect" or outbound.websocket
        up = most if tunnel or size is None else Decimal(size) / _KB
        parts.exact = parts.exact and not tunnel and size is not None and not price.per_kb.down
        _add(parts.terms, "kb_up", up, price.per_kb.up)
        _add(parts.terms, "kb_down", most, price.per_kb.down)
    if price.per_second is not None:
        parts.exact = False
        _add(parts.terms, "seconds", Decimal(rule.max_seconds), price.per_second)
    if price.per_minute is not None:
        parts.exact = False
        _add(parts.terms, "minutes", _minutes(Decimal(rule.max_seconds)), price.per_minute)
    if price.per_connection is not None:
        _add(parts.terms, "per_connection", _ONE, price.per_connection)
    if price.per_message is not None:
        parts.exact = False
        _add(parts.terms, "messages_up", Decimal(rule.max_messages), price.per_message.up)
        _add(parts.terms, "messages_down", Decimal(rule.max_messages), price.per_message.down)
    return parts


def _minutes(seconds: Decimal) -> Decimal:
    """Minutes begun."""
    return (seconds / 60).to_integral_value(ROUND_CEILING)


def _units_before(price: Price, outbound: Outbound, parts: Parts) -> None:
    values: Mapping[str, Any] = expression.request_values(outbound)
    units = _ZERO
    for item in price.per_unit:
        count: Decimal | expression.ExpressionFailed | None = None
        if item.program.known_before and not _unread(item, outbound, values):
            count = expression.evaluate(item.program, values)
        if not isinstance(count, Decimal):
            parts.exact = False
            if isinstance(count, expression.ExpressionFailed):
                parts.failed = count.reason
            count = item.max_count if item.max_count is not None else _ONE
        units += count
        _add(parts.terms, "per_unit", count, item.price)
    if _counts_units(price):
        parts.units = quota.thousandths(units)


def fixed_after(rule: Rule, outbound: Outbound, usage: Usage) -> Parts:
    """The lines that do not depend on tokens, from what really happened."""
    price = rule.price
    parts = Parts([])
    if price.per_request is not None:
        parts.terms.append(Term("per_request", _ONE, price.per_request, price.per_request))
    if price.per_unit:
        values = expression.call_values(outbound, usage)
        units = _ZERO
        for item in price.per_unit:
            if item.program.needs_response and usage.response is None:
                parts.failed = "the answer could not be read"
                return parts
            if _unread(item, outbound, values):
                parts.failed = "the request could not be read"
                return parts
            count = expression.evaluate(item.program, values)
            if isinstance(count, expression.ExpressionFailed):
                parts.failed = count.reason
                return parts
            units += count
            _add(parts.terms, "per_unit", count, item.price)
        if _counts_units(price):
            parts.units = quota.thousandths(units)
    if price.per_kb is not None:
        _add(parts.terms, "kb_up", Decimal(usage.bytes_up) / _KB, price.per_kb.up)
        _add(parts.terms, "kb_down", Decimal(usage.bytes_down) / _KB, price.per_kb.down)
    if price.per_second is not None:
        _add(parts.terms, "seconds", usage.seconds, price.per_second)
    if price.per_minute is not None:
        _add(parts.terms, "minutes", _minutes(usage.seconds), price.per_minute)
    if price.per_connection is not None:
        _add(parts.terms, "per_connection", _ONE, price.per_connection)
    if price.per_message is not None:
        _add(parts.terms, "messages_up", Decimal(usage.messages_up), price.per_message.up)
        _add(parts.terms, "messages_down", Decimal(usage.messages_down), price.per_message.down)
    return parts


def _unread(item: PerUnit, outbound: Outbound, values: Mapping[str, Any]) -> bool:
    """A body was sent that the count needs and nobody can read (compressed, too large, no JSON): zero is a guess."""
    return item.program.needs_request and values["request"] is None and outbound.body != b""


def _add(terms: list[Term], name: str, quantity: Decimal, unit_price: Decimal) -> None:
    if quantity and unit_price:
        terms.append(Term(name, quantity, unit_price, money.multiply(quantity, unit_price)))


def _counts_units(price: Price) -> bool:
    """The rule's quota is drawn in units of `per_unit`, not in requests."""
    if price.tiers is not None:
        return price.tiers.of == "units"
    return price.free_tier is not None and price.free_tier.of == "units"


# --- tokens at the rule's own prices ---------------------------------------------------------------------------------


def tokens_after(prices: TokenPrices, counts: Mapping[str, int]) -> list[Term]:
    """Counts at explicit prices. Parts (cached, written, audio, reasoning) come off the whole that contains them."""
    get = counts.get
    cached, written = get("cache_read_tokens", 0), get("cache_write_tokens", 0)
    audio = max(0, get("input_audio_tokens", 0) - get("cache_audio_read_tokens", 0))  # cached sound is cached
    reasoning, spoken = get("output_reasoning_tokens", 0), get("output_audio_tokens", 0)
    plain_in = max(0, get("input_tokens", 0) - cached - written - audio)
    plain_out = max(0, get("output_tokens", 0) - reasoning - spoken)
    terms: list[Term] = []
    for name, count, price in (
        ("input_tokens", plain_in, prices.input),
        ("cache_read_tokens", cached, _or(prices.cached_input, prices.input)),
        ("cache_write_tokens", written, _or(prices.cache_write, prices.input)),
        ("input_audio_tokens", audio, _or(prices.audio, prices.input)),
        ("output_tokens", plain_out, prices.output),
        ("output_reasoning_tokens", reasoning, _or(prices.reasoning, prices.output)),
        ("output_audio_tokens", spoken, _or(prices.audio_output, prices.output)),
    ):
        if count and price is not None:
            _add(terms, name, Decimal(count), money.divide(price, _MILLION))
    if prices.image is not None:
        _add(terms, "images", Decimal(get("images", 0)), prices.image)
    return terms


def tokens_before(prices: TokenPrices, demand: Demand) -> list[Term]:
    """Every token at the dearest price that it can have."""
    terms: list[Term] = []
    dearest_in = _dearest(prices.input, prices.cached_input, prices.cache_write, prices.audio)
    dearest_out = _dearest(prices.output, prices.reasoning, prices.audio_output)
    _add(terms, "input_tokens", Decimal(demand.counts.get("input_tokens", 0)), money.divide(dearest_in, _MILLION))
    _add(terms, "output_tokens", Decimal(demand.counts.get("output_tokens", 0)), money.divide(dearest_out, _MILLION))
    if prices.image is not None:
        _add(terms, "images", Decimal(demand.counts.get("images", 1)), prices.image)
    return terms


def _or(price: Decimal | None, otherwise: Decimal | None) -> Decimal | None:
    return otherwise if price is None else price


def _dearest(*prices: Decimal | None) -> Decimal:
    return max((price for price in prices if price is not None), default=_ZERO)


# --- tokens at the catalogue's prices --------------------------------------------------------------------------------


def catalog_before(entry: catalog.Entry, demand: Demand, now_ms: int) -> list[Term]:
    """Every token at the dearest price of the catalogue that can apply to it, and what is billed beside tokens."""
    counts = demand.counts
    price = entry.price(now_ms)
    terms: list[Term] = []
    for unit in price.beside:
        quantity = 1 if unit.usage_key == "requests" else counts.get(unit.usage_key, 0)
        if quantity:
            _add(terms, unit.usage_key, Decimal(quantity), unit.base / unit.per)
    writes = entry.implicit_cache_writes or demand.writes_cache
    rates = price.dearest(counts.get("input_tokens", 0), writes, demand.writes_long_cache, demand.media)
    for name, rate in zip(("input_tokens", "output_tokens"), rates, strict=True):
        count = counts.get(name, 0)
        if rate and count:
            terms.append(Term(name, Decimal(count), rate / _MILLION, rate * count / _MILLION))
    return terms


# --- adjustments -----------------------------------------------------------------------------------------------------


def total(terms: Iterable[Term]) -> Decimal:
    result = _ZERO
    for term in terms:
        result += term.amount
    return result


def has_adjustments(price: Price) -> bool:
    """Something is to be done to the sum: `adjusted` is needed."""
    return (
        price.tiers is not None
        or price.free_tier is not None
        or bool(price.times)
        or price.minimum is not None
        or price.rounding is not None
        or price.vat is not None
    )


def adjusted(price: Price, parts: Parts, position: int, units: int, timezone: str, now_ms: int) -> list[Term]:
    """The parts and, as lines of their own, what tiers, times, minimum, rounding and VAT add or take off.

    units: thousandths of the quota that the call uses; the amounts of all lines add up to the price.
    """
    terms = list(parts.terms)
    free = quota.free_part(price.free_tier, position, units)
    if price.tiers is not None:
        counted = "per_unit" if price.tiers.of == "units" else "per_request"
        terms = [term for term in terms if term.name != counted]
        cost = quota.tiers_cost(price.tiers, position + free, units - free)
        quantity = Decimal(units - free) / 1000
        terms.append(Term("tiers", quantity, money.divide(cost, quantity) if quantity else _ZERO, cost))
    elif free:
        by_units = price.free_tier is not None and price.free_tier.of == "units"
        given = total(term for term in terms if not by_units or term.name == "per_unit")
        off = -money.divide(money.multiply(given, Decimal(free)), Decimal(units))
        quantity = Decimal(free) / 1000
        terms.append(Term("free_tier", quantity, money.divide(off, quantity), off))
    amount = total(terms)
    multiplier = _multiplier(price.times, timezone, now_ms)
    if multiplier != _ONE and amount:
        terms.append(_change("time_of_day", amount, money.multiply(amount, multiplier) - amount))
        amount = total(terms)
    if price.minimum is not None and _ZERO <= amount < price.minimum and (free < units or amount):
        terms.append(Term("minimum", _ONE, price.minimum - amount, price.minimum - amount))
        amount = price.minimum
    if price.rounding is not None:
        rounded = money.round_to(amount, price.rounding.to, price.rounding.mode)
        if rounded != amount:
            terms.append(Term("rounding", _ONE, rounded - amount, rounded - amount))
            amount = rounded
    if price.vat is not None:
        _add(terms, "vat", amount, price.vat)
    return terms


def _change(name: str, amount: Decimal, difference: Decimal) -> Term:
    return Term(name, amount, money.divide(difference, amount), difference)


def _multiplier(times: tuple[TimeOfDay, ...], timezone: str, now_ms: int) -> Decimal:
    """That of the first entry that holds at this local time, else 1."""
    if not times:
        return _ONE
    local = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(_zone(timezone))
    minute = local.hour * 60 + local.minute
    today = local.weekday()
    for entry in times:
        if entry.start_minute < entry.end_minute:
            holds = today in entry.days and entry.start_minute <= minute < entry.end_minute
        else:  # over midnight: the hours after it belong to the day on which it began
            holds = (today in entry.days and minute >= entry.start_minute) or (
                (today - 1) % 7 in entry.days and minute < entry.end_minute
            )
        if holds:
            return entry.multiplier
    return _ONE


@lru_cache(maxsize=64)
def _zone(timezone: str) -> ZoneInfo:
    return ZoneInfo(timezone)
