"""A model's catalogue prices under one rule set, as whole numbers: what most calls cost, without a decimal on the way.

Most calls are priced by the catalogue alone: counts of tokens times prices, converted into the currencies that are
counted. For those, everything but the counts is known beforehand, so a price is a few multiplications of integers over
one power of ten. It is exact, and the same as the sum of lines that core/terms.py and core/price.py work out (a
property test holds them together); whatever is out of the ordinary is left to them: `None` here means "ask there".

The lines of the sum are not made as values but written down at once, as the ledger has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction

from proxy.core import money
from proxy.core.catalog import CURRENCY, CompiledPrice, UnitPrice
from proxy.core.demand import Demand
from proxy.core.model import Cost, Price

_MILLION = 1_000_000
_MAX_DIGITS = 40  # of an exchange rate; a quotient that does not end is left to the slow way, which rounds it

Rates = Iterable[tuple[str, Decimal | None]]  # factor to each currency that is counted; None: it is the price's own


class Tariff:
    """What calls of one model cost at one time. Made by `tariff_of`."""

    __slots__ = (
        "_before",
        "_beside",
        "_currency_factors",
        "_date",
        "_lines",
        "_rate",
        "_scale",
        "_unit",
        "_units",
        "price",
    )

    def __init__(self, price: CompiledPrice, rates: Rates, rate: Decimal | None, date: str | None) -> None:
        """Raises ValueError for prices that are no whole numbers of anything."""
        self.price = price
        self._rate = rate
        self._date = date
        self._beside = tuple(unit.usage_key for unit in price.beside)
        each = [_exact(unit.base, unit.per) for unit in price.units]
        millionths = [_exact(unit.base, _MILLION) for unit in price.units]  # as `dearest` counts
        self._scale = max(map(_places, each + millionths), default=0)
        self._unit = Decimal((0, (1,), -self._scale))
        self._currency_factors = [(currency, *self._factor(currency, factor)) for currency, factor in rates]
        self._units = [
            (_key(unit), place, self._whole(value), unit.inside, frozenset(unit.parts), bool(unit.joins))
            for place, (unit, value) in enumerate(zip(price.units, each, strict=True))
        ]
        self._units = [self._units[place] for place in price.order]
        self._lines = [
            (
                self._whole(value),
                f'{{"name":"{unit.usage_key}","quantity":"',
                f'","unit_price":"{money.plain(value)}","amount":"',
            )
            for unit, value in zip(price.units, each, strict=True)
        ]
        self._before: dict[tuple[bool, bool, bool], tuple[int, int]] = {}

    def _whole(self, value: Decimal) -> int:
        return int(money.multiply(value, Decimal(10**self._scale)))

    def _factor(self, currency: str, factor: Decimal | None) -> tuple[int, int]:
        """(numerator, denominator) from whole units of this tariff to atoms of a currency."""
        if factor is not None and (len(factor.as_tuple().digits) > _MAX_DIGITS or factor < 0):
            raise ValueError("an exchange rate that does not end")
        atoms = Fraction(factor if factor is not None else 1) * Fraction(10) ** (money.exponent(currency) - self._scale)
        return atoms.numerator, atoms.denominator

    def before(self, demand: Demand, writes: bool) -> Cost | None:
        """The most that a call may cost, rounded up; without its lines. writes: input may be written to a cache."""
        counts = demand.counts
        for name in self._beside:
            if name == "requests" or counts.get(name):
                return None
        key = (writes, demand.writes_long_cache, demand.media)
        rates = self._before.get(key)
        if rates is None:
            rates = self._before[key] = self._dearest(*key)
        amount = rates[0] * counts.get("input_tokens", 0) + rates[1] * counts.get("output_tokens", 0)
        atoms = {currency: -(-amount * above // below) for currency, above, below in self._currency_factors}
        return Cost(self._unit * amount, CURRENCY, atoms, self._rate, self._date)

    def _dearest(self, writes: bool, long_writes: bool, media: bool) -> tuple[int, int]:
        into, out = self.price.dearest(0, writes, long_writes, media)
        return self._whole(_exact(into, _MILLION)), self._whole(_exact(out, _MILLION))

    def after(self, counts: Mapping[str, int]) -> Cost | None:
        """What this usage cost, rounded half up, its lines written down.

        None: the usage contradicts itself, or costs nothing.
        """
        leaves = [0] * len(self._lines)
        told: set[str] | None = None
        for key, place, _, inside, parts, joins in self._units:
            if key is None:
                leaves[place] = 1
                continue
            value = counts.get(key)
            if value is None:
                if told is None:
                    told = {name for name, count in counts.items() if count}
                if joins or not parts.isdisjoint(told):
                    return None
                continue
            for inner in inside:
                value -= leaves[inner]
            if value < 0:
                return None
            leaves[place] = value
        total = 0
        lines = []
        scale = self._scale
        for count, (price, before, between) in zip(leaves, self._lines, strict=True):
            if count:
                amount = price * count
                total += amount
                lines.append(f'{before}{count}{between}{_text(amount, scale)}"}}')
        if not lines:
            return None
        atoms = {
            currency: (2 * total * above + below) // (2 * below) for currency, above, below in self._currency_factors
        }
        return Cost(self._unit * total, CURRENCY, atoms, self._rate, self._date, said=f"[{','.join(lines)}]")


def tariff_of(
    price: Price, model: CompiledPrice, rates: Rates, rate: Decimal | None, date: str | None
) -> Tariff | None:
    """The tariff of a model under a rule's price; None where the price is more than tokens of the catalogue in USD.

    rates: from USD to the currencies that are counted; rate, date: of the ledger's currency.
    """
    plain = (
        price.currency == CURRENCY
        and price.per_request is None
        and not price.per_unit
        and price.per_kb is None
        and price.per_second is None
        and price.per_connection is None
        and not model.tiered
        and all(unit.base >= 0 for unit in model.units)
    )
    if not plain:
        return None
    try:
        return Tariff(model, rates, rate, date)
    except ValueError:
        return None


def _key(unit: UnitPrice) -> str | None:
    return None if unit.usage_key == "requests" else unit.usage_key


def _exact(base: Decimal, per: int) -> Decimal:
    """base / per. Raises ValueError where that does not end."""
    value = money.divide(base, Decimal(per))
    if money.multiply(value, Decimal(per)) != base or _places(value) > _MAX_DIGITS:
        raise ValueError("a price that does not end")
    return value


def _places(value: Decimal) -> int:
    """Digits behind the point."""
    return len(money.plain(value).partition(".")[2])


def _text(amount: int, scale: int) -> str:
    """amount * 10^-scale as `money.plain` writes it."""
    whole, part = divmod(amount, 10**scale)
    return f"{whole}.{part:0{scale}d}".rstrip("0") if part else str(whole)
