"""A cost in every currency that is counted: the ledger's, those of budgets, those of cost limits.

Lines of a sum in, atoms out, rounded once. What depends on the rules and the day alone (exchange rates, a model's
prices as whole numbers) is worked out once and kept by the identity of the rules: comparing rule sets costs more than
pricing.

Mutable state: what is kept, bounded; nothing depends on whether it is.
"""

from __future__ import annotations

from decimal import Decimal

from proxy.core import catalog, money, tariff, terms, windows
from proxy.core.model import Cost, Period, PeriodUnit, Price, RuleSet, Term, Window

_ZERO = Decimal(0)
_DAY = Period(PeriodUnit.DAY)

_Rates = tuple[tuple[tuple[str, Decimal | None], ...], Decimal | None, str | None]
_known_rates: dict[tuple[int, str, str], tuple[RuleSet, _Rates]] = {}  # by identity: comparing rule sets costs too much
_known_nothing: dict[tuple[int, str], tuple[RuleSet, Cost]] = {}
_KEPT = 64
_Known = tuple[RuleSet, Price, catalog.CompiledPrice, Window, tariff.Tariff | None]
_known_tariffs: dict[tuple[int, int], _Known] = {}  # by identity of price and model, which each entry holds
_TARIFFS_KEPT = 1024
_Named = tuple[RuleSet, Price, int, int, tariff.Tariff | None]
_known_named: dict[tuple[int, str | None, str | None], _Named] = {}  # by identity of the price, and the names


def cost(rules: RuleSet, currency: str, lines: list[Term], now_ms: int, rounding: str) -> Cost:
    """The sum of these lines, in `currency`, counted. rounding: "up" | "half_up". Raises money.NoRate."""
    original = terms.total(lines)
    rates, rate, date = _rates(rules, currency, now_ms)
    atoms = {}
    for target, factor in rates:
        amount = original if factor is None else money.multiply(original, factor)
        atoms[target] = money.to_atoms(amount, target, rounding)
    return Cost(original, currency, atoms, rate, date, tuple(lines))


def nothing(rules: RuleSet, price: Price) -> Cost:
    """A cost of zero in the price's currency."""
    key = (id(rules), price.currency)
    kept = _known_nothing.get(key)
    if kept is not None and kept[0] is rules:
        return kept[1]
    made = Cost(_ZERO, price.currency, dict.fromkeys(_currencies(rules), 0))
    if len(_known_nothing) >= _KEPT:
        _known_nothing.clear()
    _known_nothing[key] = (rules, made)
    return made


def learned(rules: RuleSet, price: Price, atoms: int, now_ms: int) -> Cost:
    """What was learned is in the rules' currency: the other currencies follow from it."""
    amount = money.from_atoms(atoms, rules.currency)
    day = windows.local_day(now_ms, rules.timezone)
    rates = {
        currency: money.to_atoms(
            money.convert(amount, rules.currency, currency, rules.fx, rules.currency, day)[0], currency, "up"
        )
        for currency in _currencies(rules)
    }
    return Cost(
        amount, rules.currency, {**rates, rules.currency: atoms}, terms=(Term("learned", Decimal(1), amount, amount),)
    )


def in_currency(rules: RuleSet, price: Price, lines: list[Term], now_ms: int) -> list[Term]:
    """The catalogue's lines are in USD; a rule may want them in another currency."""
    if price.currency == catalog.CURRENCY or not lines:
        return lines
    day = windows.local_day(now_ms, rules.timezone)
    _, factor, _ = money.convert(Decimal(1), catalog.CURRENCY, price.currency, rules.fx, rules.currency, day)
    rate = factor or Decimal(1)
    return [
        Term(line.name, line.quantity, money.multiply(line.unit_price, rate), money.multiply(line.amount, rate))
        for line in lines
    ]


def tariff_of(rules: RuleSet, price: Price, entry: catalog.Entry, now_ms: int) -> tariff.Tariff | None:
    """The model's prices of this local day as whole numbers, where they are a rule's whole price."""
    model = entry.price(now_ms)
    kept = _known_tariffs.get((id(price), id(model)))
    if kept is not None and kept[0] is rules and kept[3].start_ms <= now_ms < kept[3].end_ms:
        return kept[4]
    found = None
    if not (terms.has_adjustments(price) or model.is_zero or entry.needs_more_than_counts):
        factors, rate, date = _rates(rules, catalog.CURRENCY, now_ms)
        found = tariff.tariff_of(price, model, factors, rate, date)
    if len(_known_tariffs) >= _TARIFFS_KEPT:
        _known_tariffs.clear()
    day = windows.window_at(_DAY, rules.timezone, now_ms)
    _known_tariffs[id(price), id(model)] = (rules, price, model, day, found)
    return found


def tariff_named(
    rules: RuleSet, price: Price, answered: str | None, asked: str | None, now_ms: int
) -> tariff.Tariff | None:
    """As `tariff_of`, of the model that a rule's catalogue knows by the first of these names, or else by the second."""
    key = (id(price), answered, asked)
    kept = _known_named.get(key)
    if kept is not None and kept[0] is rules and kept[2] <= now_ms < kept[3]:
        return kept[4]
    entry = catalog.find_first(price.catalog or "", answered, asked)
    found = tariff_of(rules, price, entry, now_ms) if entry is not None else None
    day = windows.window_at(_DAY, rules.timezone, now_ms)
    from_ms, until_ms = day.start_ms, day.end_ms
    if entry is not None:
        same_from_ms, same_until_ms = entry.same_price(now_ms)
        from_ms, until_ms = max(from_ms, same_from_ms), min(until_ms, same_until_ms)
    if len(_known_named) >= _TARIFFS_KEPT:
        _known_named.clear()
    if all(len(name or "") <= catalog.MODEL_NAME_CAP for name in (answered, asked)):
        _known_named[key] = (rules, price, from_ms, until_ms, found)
    return found


def _rates(rules: RuleSet, currency: str, now_ms: int) -> _Rates:
    """(factor to each currency that is counted), and the rate to the rules' currency with its date."""
    day = windows.local_day(now_ms, rules.timezone)
    key = (id(rules), currency, day)
    kept = _known_rates.get(key)
    if kept is not None and kept[0] is rules:
        return kept[1]
    factors: list[tuple[str, Decimal | None]] = []
    rate, date = None, None
    for target in _currencies(rules):
        _, factor, since = money.convert(Decimal(1), currency, target, rules.fx, rules.currency, day)
        factors.append((target, factor))
        if target == rules.currency:
            rate, date = factor, since
    found: _Rates = (tuple(factors), rate, date)
    if len(_known_rates) >= _KEPT:
        _known_rates.clear()
    _known_rates[key] = (rules, found)
    return found


def _currencies(rules: RuleSet) -> tuple[str, ...]:
    """The currencies that a cost is counted in: the ledger's first, then those of budgets and cost limits."""
    budgets = (budget.currency for budget in rules.budgets)
    return tuple(dict.fromkeys((rules.currency, *budgets, *rules.limit_currencies)))
