"""Decides what the maintained price catalogue (genai-prices, pinned, its own data only) asks for a model's usage.

A model's price is compiled once into exact decimals a unit and then added up here, because the library's own arithmetic
costs many times as much as a request may; a test holds both to the same sums over every model. Knows no rules, no HTTP
and no clock: the instant of the call is an argument. The library's updater, which would reach the network, is never
started.

Two traps of the data: a price of 0, or none at all, means that the catalogue has no price (only names that end in
":free" are given away); and prices are those of the standard service tier, so no price context is passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from proxy.core.model import Term

if TYPE_CHECKING:
    from genai_prices import types as genai

CURRENCY = "USD"
MODEL_NAME_CAP = 512  # characters; the name comes from the network, and a longer one is nobody's
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000
_GROQ_WHISPER = frozenset({"whisper-large-v3", "whisper-large-v3-turbo"})
_GROQ_LEAST_SECONDS = 10
_ZERO = Decimal(0)

# Counts that are no tokens are billed beside them, at their own price each.
_BESIDE = ("tool_calls", "characters", "messages", "durations", "pixels", "document_pages", "rerank", "requests")

Counts = Mapping[str, int]


class Inconsistent(ValueError):
    """The usage contradicts itself: a part is larger than its whole, or the whole is missing."""


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """What usage costs: base for `per` units; tiers are (over so many input tokens, price), ascending."""

    usage_key: str
    direction: str | None  # "input" | "output" | None
    family: str  # "tokens", "characters", "durations", "tool_calls", "requests", ...
    modality: str | None
    token_type: str | None
    ttl: str | None
    per: int
    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...]
    inside: tuple[int, ...]  # places of the priced units that are parts of this one, to be taken off
    parts: tuple[str, ...]  # all usage keys, priced or not, whose presence requires this one to be told
    joins: tuple[tuple[str, str], ...]  # pairs of usage keys whose overlap is this unit

    def price_at(self, input_tokens: int) -> Decimal:
        price = self.base
        for start, tier_price in self.tiers:
            if input_tokens > start:
                price = tier_price
        return price

    def dearest_up_to(self, input_tokens: int) -> Decimal:
        """Highest price that can hold for at most so many input tokens."""
        return max([self.base, *(price for start, price in self.tiers if input_tokens > start)])


@dataclass(frozen=True, slots=True)
class CompiledPrice:
    """All unit prices of a model at one time. `order` computes parts before their wholes."""

    units: tuple[UnitPrice, ...]
    order: tuple[int, ...]
    tiered: bool
    input_unit: UnitPrice | None
    is_zero: bool  # no unit has a price above 0
    beside: tuple[UnitPrice, ...]  # units that are no tokens: each is billed at its own price
    _dearest: dict[tuple[bool, bool, bool], tuple[Decimal, Decimal]] = field(default_factory=dict, compare=False)

    def dearest(self, input_tokens: int, writes: bool, long_writes: bool, media: bool) -> tuple[Decimal, Decimal]:
        """The highest prices of a million tokens in and out that can apply to a call with at most so much input.

        writes, long_writes: tokens may be written to a cache, for an hour. media: there may be other tokens than text.
        """
        if self.tiered:
            return self._dearest_of(input_tokens, writes, long_writes, media)
        key = (writes, long_writes, media)
        known = self._dearest.get(key)
        if known is None:
            known = self._dearest[key] = self._dearest_of(input_tokens, writes, long_writes, media)
        return known

    def _dearest_of(self, input_tokens: int, writes: bool, long_writes: bool, media: bool) -> tuple[Decimal, Decimal]:
        into, out = [_ZERO], [_ZERO]
        for unit in self.units:
            if (
                unit.family != "tokens"
                or (unit.modality not in (None, "text") and not media)
                or (unit.token_type == "cache_write" and not writes)  # noqa: S105
                or (unit.ttl == "1h" and not long_writes)
            ):
                continue
            side = out if unit.direction == "output" else into
            side.append(unit.dearest_up_to(input_tokens))
        return max(into), max(out)

    def terms(self, counts: Counts, strict: bool = True) -> list[Term]:
        """One line a unit with something to pay, in the catalogue's order, in USD.

        strict False: read a contradiction in the way that charges more (a whole is at least the sum of its parts)
        instead of raising Inconsistent.
        """
        units = self.units
        leaves = [0] * len(units)
        for place in self.order:
            unit = units[place]
            key = unit.usage_key
            if key == "requests":
                leaves[place] = 1
                continue
            value = counts.get(key)
            if value is None:
                if strict and unit.parts:
                    _require_absent(unit, counts)
                value = 0
            for inner in unit.inside:
                value -= leaves[inner]
            if value < 0:
                if strict:
                    raise Inconsistent(f"the parts of {key} are more than the whole")
                value = 0
            leaves[place] = value
        total_input = self._total_input(counts, strict) if self.tiered else 0
        found = []
        for place, unit in enumerate(units):
            count = leaves[place]
            if count:
                price = unit.price_at(total_input) if unit.tiers else unit.base
                quantity = Decimal(count)
                found.append(Term(unit.usage_key, quantity, price / unit.per, price * quantity / unit.per))
        return found

    def _total_input(self, counts: Counts, strict: bool) -> int:
        value = counts.get("input_tokens")
        if value is not None:
            return value
        parts, joins = _relations("input_tokens")
        if any(counts.get(key, 0) > 0 for key in parts) or _overlaps(joins, counts):
            if strict:
                raise Inconsistent("input_tokens is missing")
            return max(counts.get(key, 0) for key in parts)
        return 0


def _require_absent(unit: UnitPrice, counts: Counts) -> None:
    for key in unit.parts:
        if counts.get(key, 0) > 0:
            raise Inconsistent(f"{unit.usage_key} is missing beside {key}")
    if _overlaps(unit.joins, counts):
        raise Inconsistent(f"{unit.usage_key} is missing beside its overlapping parts")


def _overlaps(joins: Iterable[tuple[str, str]], counts: Counts) -> bool:
    return any(counts.get(left, 0) > 0 and counts.get(right, 0) > 0 for left, right in joins)


@dataclass(frozen=True, slots=True)
class Extractor:
    """Where a provider's answers keep their usage, for one flavour of its API.

    mappings: (path from the root to an object, what is read there: (name, usage key, required)), in the catalogue's
    order; what stands side by side in one object is together.
    """

    flavor: str
    root: tuple[str, ...]
    model_path: tuple[str, ...]
    mappings: tuple[tuple[tuple[Any, ...], tuple[tuple[Any, str, bool], ...]], ...]


@dataclass(slots=True)
class Entry:
    """A model as the catalogue knows it."""

    provider: str
    model: str
    context_window: int | None
    given_away: bool  # the name says that it costs nothing
    _info: Any = field(repr=False)
    _steps_ms: int = field(default=0, repr=False)  # how long a price surely holds; 0 = for ever
    _last: tuple[int, CompiledPrice] | None = field(default=None, repr=False)

    @property
    def needs_more_than_counts(self) -> bool:
        """The usage told is not what is billed: see `terms`."""
        return self.provider == "groq" and self.model in _GROQ_WHISPER

    @property
    def implicit_cache_writes(self) -> bool:
        """Input may be written to a cache, and billed so, without the request asking for it."""
        return "claude" not in self.model

    def price(self, now_ms: int) -> CompiledPrice:
        """The prices that hold at this instant."""
        key = now_ms // self._steps_ms if self._steps_ms else 0
        last = self._last
        if last is None or last[0] != key:
            at = _EPOCH + timedelta(milliseconds=now_ms)
            last = self._last = (key, _compile(self._info.get_prices(at)))
        return last[1]

    def same_price(self, now_ms: int) -> tuple[int, int]:
        """From when and until when the prices of this instant surely hold."""
        if not self._steps_ms:
            return 0, now_ms + _DAY_MS
        start_ms = now_ms - now_ms % self._steps_ms
        return start_ms, start_ms + self._steps_ms

    def terms(self, counts: Counts, now_ms: int, strict: bool = True) -> list[Term]:
        """What this usage costs at this instant, line by line in USD. Raises Inconsistent when strict."""
        if self.needs_more_than_counts:
            seconds = counts.get("audio_seconds") or counts.get("input_audio_seconds") or 0
            if seconds:
                billed = max(seconds, _GROQ_LEAST_SECONDS)
                counts = {**counts, "audio_seconds": billed, "input_audio_seconds": billed}
        return self.price(now_ms).terms(counts, strict)


# --- looking up ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _providers() -> dict[str, genai.Provider]:
    from genai_prices.data import providers  # half a second: only where a rule names the catalogue

    return {provider.id: provider for provider in providers}


def provider_ids() -> tuple[str, ...]:
    """The names that a rule's `catalog:` may take."""
    return tuple(_providers())


def known(provider: str) -> bool:
    return provider in _providers()


@lru_cache(maxsize=256)
def extractors(provider: str) -> Mapping[str, Extractor]:
    """How to read this provider's answers, by flavour; empty for one that the catalogue cannot read."""
    found = _providers().get(provider)
    return {
        item.api_flavor: Extractor(
            item.api_flavor,
            _steps(item.root),
            _steps(item.model_path),
            _side_by_side((_path(mapping.path), mapping.dest, mapping.required) for mapping in item.mappings),
        )
        for item in (found.extractors or () if found else ())
    }


def _steps(path: Any) -> tuple[str, ...]:
    return (path,) if isinstance(path, str) else tuple(path)


def _path(path: Any) -> tuple[Any, ...]:
    """Names, and (field, test) pairs where the one element of a list is meant whose field passes the test."""
    steps = (path,) if isinstance(path, str) else path
    return tuple(step if isinstance(step, str) else (step.field, step.match.is_match) for step in steps)


def _side_by_side(
    mappings: Iterable[tuple[tuple[Any, ...], str, bool]],
) -> tuple[tuple[tuple[Any, ...], tuple[tuple[Any, str, bool], ...]], ...]:
    return tuple(
        (where, tuple((path[-1], key, required) for path, key, required in group))
        for where, group in groupby(mappings, lambda mapping: mapping[0][:-1])
    )


def find(provider: str, model: str) -> Entry | None:
    """The catalogue's entry for a model name as it appears in requests and answers; None when it knows none."""
    return _find(provider, model) if len(model) <= MODEL_NAME_CAP else None


def find_first(provider: str, *names: str | None) -> Entry | None:
    """The entry of the first of these names that the catalogue knows."""
    for name in names:
        if name and (found := find(provider, name)) is not None:
            return found
    return None


@lru_cache(maxsize=4096)
def _find(provider: str, model: str) -> Entry | None:
    home = _providers().get(provider)
    if home is None or not model:
        return None
    everybody = list(_providers().values())
    for name in _spellings(model):
        info = home.find_model(name, all_providers=everybody)
        if info is not None:
            given_away = model.endswith(":free") or info.id.endswith(":free")
            return Entry(provider, info.id, info.context_window, given_away, info, _how_it_varies(info))
    return None


def dearest(provider: str, now_ms: int) -> Entry | None:
    """The provider's dearest model, by a token in and one out: what a call may use that does not show its model."""
    return _dearest(provider, now_ms // _DAY_MS)


@lru_cache(maxsize=64)
def _dearest(provider: str, day: int) -> Entry | None:
    home = _providers().get(provider)
    best: Entry | None = None
    most = Decimal(0)
    for info in home.models if home is not None else ():
        entry = find(provider, info.id)
        if entry is None:
            continue
        rates: dict[str, Decimal] = {}
        for unit in entry.price(day * _DAY_MS).units:
            if unit.family == "tokens" and unit.modality in (None, "text"):
                side = unit.direction or "input"
                rates[side] = max(rates.get(side, unit.base), unit.base)
        amount = sum(rates.values(), Decimal(0))
        if amount > most:
            best, most = entry, amount
    return best


def _spellings(model: str) -> Iterable[str]:
    """A name and what is left of it without the folder that some APIs put before it."""
    yield model
    if model.startswith(("arn:", "models/", "publishers/", "projects/", "tunedModels/")):
        yield model.rsplit("/", 1)[-1]


def _how_it_varies(info: genai.ModelInfo) -> int:
    from genai_prices.types import ModelPrice, TimeOfDateConstraint

    if isinstance(info.prices, ModelPrice):
        return 0
    if any(isinstance(item.constraint, TimeOfDateConstraint) for item in info.prices):
        return 60_000
    return 86_400_000


# --- compiling -----------------------------------------------------------------------------------------------------

_compiled: dict[int, tuple[Any, CompiledPrice]] = {}  # by identity of the library's object, which is kept alive here


def _compile(prices: genai.ModelPrice) -> CompiledPrice:
    kept = _compiled.get(id(prices))
    if kept is None:
        kept = _compiled[id(prices)] = (prices, _compile_anew(prices))
    return kept[1]


def _compile_anew(prices: genai.ModelPrice) -> CompiledPrice:
    from genai_prices.types import TieredPrices
    from genai_prices.units import _get_registry

    registry = _get_registry()
    found: list[tuple[Any, Decimal, tuple[tuple[int, Decimal], ...]]] = []
    for price_key, value in vars(prices).items():
        if value is None or price_key.startswith("_"):
            continue
        unit = registry.unit_for_price_key(price_key)
        if isinstance(value, TieredPrices):
            found.append((unit, value.base, tuple((tier.start, tier.price) for tier in value.tiers)))
        else:
            found.append((unit, value, ()))
    units = []
    for unit, base, tiers in found:
        inside = tuple(
            place
            for place, (other, _, _) in enumerate(found)
            if other is not unit and unit.dimensions.items() <= other.dimensions.items()
        )
        parts, joins = _relations(unit.usage_key)
        get = unit.dimensions.get
        units.append(
            UnitPrice(
                usage_key=unit.usage_key,
                direction=get("direction"),
                family=unit.dimensions["family"],
                modality=get("modality"),
                token_type=get("token_type"),
                ttl=get("cache_ttl"),
                per=unit.per,
                base=base,
                tiers=tiers,
                inside=inside,
                parts=parts,
                joins=joins,
            )
        )
    order = sorted(range(len(found)), key=lambda place: (-len(found[place][0].dimensions), found[place][0].usage_key))
    return CompiledPrice(
        units=tuple(units),
        order=tuple(order),
        tiered=any(unit.tiers for unit in units),
        input_unit=next((unit for unit in units if unit.usage_key == "input_tokens"), None),
        beside=tuple(unit for unit in units if unit.family in _BESIDE),
        is_zero=all(unit.base == _ZERO and all(price == _ZERO for _, price in unit.tiers) for unit in units),
    )


@lru_cache(maxsize=256)
def _relations(usage_key: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The usage keys that are parts of this one, and the pairs of keys whose overlap it is."""
    from genai_prices.units import _get_registry

    units = _get_registry().units
    wanted = units[usage_key]
    parts = tuple(
        key
        for key, unit in units.items()
        if unit is not wanted and wanted.dimensions.items() <= unit.dimensions.items()
    )
    candidates = [unit for unit in units.values() if unit.dimensions.items() < wanted.dimensions.items()]
    joins = []
    for place, left in enumerate(candidates):
        for right in candidates[place + 1 :]:
            crossing = not (
                left.dimensions.items() <= right.dimensions.items()
                or right.dimensions.items() <= left.dimensions.items()
            )
            if crossing and {**left.dimensions, **right.dimensions} == dict(wanted.dimensions):
                joins.append((left.usage_key, right.usage_key))
    return parts, tuple(joins)
