"""A rule in words: what it matches and what it costs, as a person would say it from rules.yaml.

Pure; the words come from the catalogue. Shortens what is long: the file itself is one line away (`Rule.where`).
"""

from __future__ import annotations

from decimal import Decimal

from proxy.core import money
from proxy.core.model import FieldTest, Match, Price, Rule
from proxy.core.text import say


def match_text(rule: Rule, language: str) -> str:
    """The tests of a rule in one line; what every call of its API passes is said so."""
    match: Match = rule.match
    parts = []
    if match.methods is not None:
        parts.append(" ".join(sorted(match.methods)))
    if match.paths:
        parts.append(", ".join(pattern_text(one.pattern) for one in match.paths))
    if match.hosts:
        parts.append(", ".join(pattern_text(one.pattern) for one in match.hosts))
    for key, tests in (("header", match.headers), ("query", match.query), ("json", match.json)):
        parts += [say(f"describe.{key}", language, test=_test(test, language)) for test in tests]
    return " · ".join(parts) or say("describe.everything", language)


def price_text(price: Price, language: str) -> str:
    """What a matching call costs, part by part."""
    if price.free:
        return say("describe.free", language)
    unit = price.currency
    parts = []
    if price.catalog is not None:
        parts.append(say("describe.catalog", language, provider=price.catalog))
    if price.tokens is not None:
        tokens = price.tokens
        told = [("input", tokens.input), ("output", tokens.output), ("image", tokens.image), ("audio", tokens.audio)]
        prices = [
            f"{say(f'describe.{name}', language)} {money.plain(value)}" for name, value in told if value is not None
        ]
        parts.append(say("describe.tokens", language, prices=", ".join(prices), currency=unit))
    for key, value in (
        ("per_request", price.per_request),
        ("per_second", price.per_second),
        ("per_connection", price.per_connection),
    ):
        if value is not None:
            parts.append(_of(key, value, unit, language))
    parts += [
        say("describe.per_unit", language, price=money.plain(p.price), currency=unit, count=p.count)
        for p in price.per_unit
    ]
    if price.per_kb is not None:
        up, down = money.plain(price.per_kb.up), money.plain(price.per_kb.down)
        parts.append(say("describe.per_kb", language, up=up, down=down, currency=unit))
    if price.tiers is not None:
        parts.append(say("describe.tiers", language, steps=len(price.tiers.steps)))
    if price.free_tier is not None:
        parts.append(say("describe.free_tier", language, amount=money.plain(price.free_tier.amount)))
    if price.minimum is not None:
        parts.append(_of("minimum", price.minimum, unit, language))
    if price.vat:
        parts.append(say("describe.vat", language, percent=money.plain(price.vat * 100)))
    return " + ".join(parts)


def _of(key: str, value: Decimal, currency: str, language: str) -> str:
    return say(f"describe.{key}", language, price=money.plain(value), currency=currency)


def _test(test: FieldTest, language: str) -> str:
    if test.equals is not None:
        return f"{test.name} = {' | '.join(test.equals)}"
    if test.pattern is not None:
        return f"{test.name} ~ {pattern_text(test.pattern.pattern)}"
    return say("describe.present" if test.present else "describe.absent", language, name=test.name)


def pattern_text(compiled: str) -> str:
    """A compiled glob in the shape in which it was written; a regex, which is the user's own, with its "~"."""
    if not compiled.startswith(r"\A"):
        return f"~{compiled}"
    text = compiled.removeprefix(r"\A")
    open_end = not text.endswith(r"\Z")
    text = text.removesuffix(r"\Z").replace("(?:[^/]*/)*?", "**/").replace("(?>", "").replace("[^/]*?", "*")
    text = text.replace(".*", "**" if "/" in text else "*").replace(")", "").replace("\\", "")
    return f"{text}*" if open_end else text
