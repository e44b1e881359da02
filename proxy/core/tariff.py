"""A model's catalogue prices under one rule set, as whole numbers: what most calls cost, without a decimal on the way.

Most calls are priced by the catalogue alone: counts of tokens times prices, converted into the currencies that are
counted. For those, everything but the counts is known beforehand, so a price is a few multiplications of integers over
one power of ten. It is exact, and the same as the sum of lines that core/terms.py and core/price.py work out (a
property test holds them together); whatever is out of the ordinary is left to them: `None` here means "ask there".

The lines of the sum are not made as values but written down as the ledger has them: of a bill at once, of an estimate
when it stands as the bill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from proxy.core import money
from proxy.core.catalog import CURRENCY, CompiledPrice
from proxy.core.demand import Demand
from proxy.core.model import Cost, Price, StatusSet

_MILLION = 1_000_000
_MAX_DIGITS = 40  # of an exchange rate; a quotient that does not end is left to the slow way, which rounds it

_SHAPES_KEPT = 64

Rates = Iterable[tuple[str, Decimal | None]]  # factor to each currency that is counted; None: it is the price's own


class _Shape(NamedTuple):
    """What counts of the same names have in common.

    zero: must not be counted, because the whole that they are parts of is not told. apart: must not be counted both.
    told: (name, place of the unit, places of its parts), parts before their wholes. lines: (place, *line), in the
    catalogue's order.
    """

    zero: tuple[str, ...]
    apart: tuple[tuple[str, str], ...]
    told: tuple[tuple[str, int, tuple[int, ...]], ...]
    lines: tuple[tuple[int, int, str, str], ...]


_NEXT_LINE = '"},'  # what ends a line that another one follows


class Tariff:
    """What calls of one model cost at one time. Made by `tariff_of`."""

    __slots__ = (
        "_before",
        "_beside",
        "_currency_factors",
        "_date",
        "_each_request",
        "_lines",
        "_one",
        "_ones",
        "_pattern",
        "_rate",
        "_scale",
        "_shapes",
        "_unit",
        "price",
    )

    def __init__(self, price: CompiledPrice, rates: Rates, rate: Decimal | None, date: str | None) -> None:
        """Raises ValueError for prices that are no whole numbers of anything."""
        self.price = price
        self._rate = rate
        self._date = date
        self._beside = frozenset(unit.usage_key for unit in price.beside)
        self._each_request = "requests" in self._beside
        each = [_exact(unit.base, unit.per) for unit in price.units]
        millionths = [_exact(unit.base, _MILLION) for unit in price.units]  # as `dearest` counts
        self._scale = max(map(_places, each + millionths), default=0)
        self._one = 10**self._scale
        self._pattern = f"%d.%0{self._scale}d"
        self._unit = Decimal((0, (1,), -self._scale))
        self._currency_factors = [(currency, *self._factor(currency, factor)) for currency, factor in rates]
        self._ones = [1 if unit.usage_key == "requests" else 0 for unit in price.units]
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._lines = [self._line(unit.usage_key, value) for unit, value in zip(price.units, each, strict=True)]
        self._before: dict[tuple[bool, bool, bool], tuple[tuple[str, int, str, str], ...]] = {}

    def _whole(self, value: Decimal) -> int:
        return int(money.multiply(value, Decimal(self._one)))

    def _factor(self, currency: str, factor: Decimal | None) -> tuple[int, int]:
        """(numerator, denominator) from whole units of this tariff to atoms of a currency."""
        if factor is not None and (len(factor.as_tuple().digits) > _MAX_DIGITS or factor < 0):
            raise ValueError("an exchange rate that does not end")
        atoms = Fraction(factor if factor is not None else 1) * Fraction(10) ** (money.exponent(currency) - self._scale)
        return atoms.numerator, atoms.denominator

    def before(self, demand: Demand, writes: bool) -> Cost | None:
        """The most that a call may cost, rounded up. writes: input may go into a cache."""
        counts = demand.counts
        if self._each_request or (not self._beside.isdisjoint(counts) and any(map(counts.get, self._beside))):
            return None
        key = (writes, demand.writes_long_cache, demand.media)
        dearest = self._before.get(key)
        if dearest is None:
            dearest = self._before[key] = self._dearest(*key)
        total, atoms = 0, {}
        for name, price, _, _ in dearest:
            total += price * counts.get(name, 0)
        for currency, above, below in self._currency_factors:
            atoms[currency] = -(-total * above // below)
        said = partial(self._said, dearest, counts)
        return Cost(self._unit * total, CURRENCY, atoms, self._rate, self._date, (), said)

    def _said(self, prices: tuple[tuple[str, int, str, str], ...], counts: Mapping[str, int]) -> str:
        """The lines of an estimate, as the ledger has them."""
        lines = [
            large % (counts[name], self._text(price * counts[name]))
            for name, price, _, large in prices
            if counts.get(name)
        ]
        return f'[{_NEXT_LINE.join(lines)}"}}]' if lines else "[]"

    def _dearest(self, writes: bool, long_writes: bool, media: bool) -> tuple[tuple[str, int, str, str], ...]:
        rates = self.price.dearest(0, writes, long_writes, media)
        return tuple(
            (name, *self._line(name, _exact(rate, _MILLION)))
            for name, rate in zip(("input_tokens", "output_tokens"), rates, strict=True)
            if rate
        )

    def _line(self, name: str, price: Decimal) -> tuple[int, str, str]:
        """A price, and two patterns of its line without its end: for an amount below one, in so many whole units of
        this tariff (idle zeros come off), and for any amount as text."""
        line = f'{{"name":"{name}","quantity":"%d","unit_price":"{money.plain(price)}","amount":"'
        return self._whole(price), f"{line}0.%0{self._scale}d", f"{line}%s"

    def after(self, counts: Mapping[str, int]) -> Cost | None:
        """What this usage cost, rounded half up, its lines written down.

        None: the usage contradicts itself, or costs nothing.
        """
        keys = tuple(counts)
        shape = self._shapes.get(keys)
        if shape is None:
            if len(self._shapes) >= _SHAPES_KEPT:
                self._shapes.clear()
            shape = self._shapes[keys] = self._shape_of(keys)
        for key in shape.zero:
            if counts[key]:
                return None
        for left, right in shape.apart:
            if counts[left] and counts[right]:
                return None
        leaves = self._ones.copy()
        for key, place, inside in shape.told:
            value = counts[key]
            for inner in inside:
                value -= leaves[inner]
            if value < 0:
                return None
            leaves[place] = value
        total, lines, one = 0, [], self._one
        for place, price, small, large in shape.lines:
            count = leaves[place]
            if count:
                amount = price * count
                total += amount
                if 0 < amount < one:
                    lines.append((small % (count, amount)).rstrip("0"))
                else:
                    lines.append(large % (count, self._text(amount)))
        if not lines:
            return None
        atoms = {}
        for currency, above, below in self._currency_factors:
            atoms[currency] = (2 * total * above + below) // (2 * below)
        said = f'[{_NEXT_LINE.join(lines)}"}}]'
        return Cost(self._unit * total, CURRENCY, atoms, self._rate, self._date, (), said)

    def _text(self, amount: int) -> str:
        """So many whole units of this tariff as `money.plain` writes it."""
        whole, part = divmod(amount, self._one)
        return (self._pattern % (whole, part)).rstrip("0") if part else str(whole)

    def _shape_of(self, keys: tuple[str, ...]) -> _Shape:
        """What is to be done with a usage of these counts."""
        known = frozenset(keys)
        told, zero, apart = [], [], []
        for place in self.price.order:
            unit = self.price.units[place]
            if unit.usage_key == "requests":
                continue
            if unit.usage_key in known:
                told.append((unit.usage_key, place, unit.inside))
            else:  # a part without its whole is a contradiction
                zero += [part for part in unit.parts if part in known]
                apart += [pair for pair in unit.joins if pair[0] in known and pair[1] in known]
        places = sorted([place for _, place, _ in told] + [place for place, one in enumerate(self._ones) if one])
        return _Shape(tuple(zero), tuple(apart), tuple(told), tuple((place, *self._lines[place]) for place in places))


def tariff_of(
    price: Price, model: CompiledPrice, rates: Rates, rate: Decimal | None, date: str | None
) -> Tariff | None:
    """The tariff of a model under a rule's price; None where the price is more than tokens of the catalogue in USD.

    rates: from USD to the currencies that are counted; rate, date: of the ledger's currency.
    """
    # Compared as a whole, so that a part that prices learn later is never overlooked.
    nothing_else = replace(price, catalog=None, charge_on=StatusSet()) == Price(currency=CURRENCY)
    plain = nothing_else and not model.tiered and all(unit.base >= 0 for unit in model.units)
    if not plain:
        return None
    try:
        return Tariff(model, rates, rate, date)
    except ValueError:
        return None


def _exact(base: Decimal, per: int) -> Decimal:
    """base / per. Raises ValueError where that does not end."""
    value = money.divide(base, Decimal(per))
    if money.multiply(value, Decimal(per)) != base or _places(value) > _MAX_DIGITS:
        raise ValueError("a price that does not end")
    return value


def _places(value: Decimal) -> int:
    """Digits behind the point."""
    return len(money.plain(value).partition(".")[2])
