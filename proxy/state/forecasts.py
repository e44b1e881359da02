"""Keeps the leader's forecasts where programs and redis-cli find them, and what people said about recommendations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from proxy.core import money
from proxy.core.windows import iso
from proxy.state.keys import FORECAST_KEPT_S, RECOMMENDATIONS_KEPT_S, Keys
from proxy.state.reading import Reader

FOR_GOOD: Final = 2**53 - 1
Told = Mapping[str, Any]  # one outlook as `spendgate forecast --json` prints it


async def keep(reader: Reader, keys: Keys, outlooks: Sequence[Told], now_ms: int, timezone: str, past_day: str) -> None:
    """Replaces all forecasts; those of other scopes are no longer listed. past_day: of the past errors."""
    commands: list[list[str | int]] = [["DEL", keys.forecasts]]
    for told in outlooks:
        key = keys.forecast(told["kind"], told["name"])
        currency = told["currency"]
        fields = {
            "period": told["period"],
            "end": told["end"],
            "at": iso(now_ms, timezone),
            "month_end_text": _text(told["month_end"], currency),
            "low80_text": _text(told["interval80"][0], currency),
            "high80_text": _text(told["interval80"][1], currency),
            "limit_text": "" if told["limit"] is None else f"{told['limit']} {currency}",
            "over": "1" if told["over"] else "0",
            "reaches_limit": told["reaches_limit"] or "",
            "past_error": "" if told["past_error_percent"] is None else str(told["past_error_percent"]),
            "past_day": past_day,
            "json": json.dumps(told, ensure_ascii=False),
        }
        commands.append(["HSET", key, *[word for pair in fields.items() for word in pair]])
        commands.append(["EXPIRE", key, FORECAST_KEPT_S])
        commands.append(["SADD", keys.forecasts, f"{told['kind']}:{told['name']}"])
    commands.append(["EXPIRE", keys.forecasts, FORECAST_KEPT_S])
    await reader.ask_all(commands, at_once=True)


async def read(reader: Reader, keys: Keys, scopes: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """The kept hashes of (kind, name) in order; an empty one where there is no forecast."""
    replies: list[dict[str, str]] = await reader.ask_all([("HGETALL", keys.forecast(*scope)) for scope in scopes])
    return replies


def past_cover(fields: Mapping[str, str]) -> float | None:
    """How often the 80 % interval has held, as kept."""
    told = json.loads(fields["json"])["past_cover80"]
    return None if told is None else float(told)


async def all_kept(reader: Reader, keys: Keys, kind: str = "") -> list[dict[str, Any]]:
    """Every kept forecast as `spendgate forecast --json` prints it, with `at`; budgets first. kind: only of these."""
    listed = [scope.partition(":") for scope in await reader.ask("SMEMBERS", keys.forecasts)]
    listed = [one for one in listed if kind in ("", one[0])]
    replies = await reader.ask_all([("HMGET", keys.forecast(kind, name), "json", "at") for kind, _, name in listed])
    told = [{**json.loads(text), "at": at} for text, at in replies if text]
    return sorted(told, key=lambda one: (one["kind"] != "budget", one["name"]))


async def set_aside(reader: Reader, keys: Keys, what: str, until_ms: int, who: str) -> None:
    """A recommendation is not shown until then (FOR_GOOD: never again)."""
    await reader.ask_all(
        [
            ("HSET", keys.recommendations, what, f"{until_ms} {who}"),
            ("EXPIRE", keys.recommendations, RECOMMENDATIONS_KEPT_S),
        ],
        at_once=True,
    )


async def show_again(reader: Reader, keys: Keys, what: str) -> bool:
    """Takes back `set_aside`; whether there was something to take back."""
    return bool(await reader.ask("HDEL", keys.recommendations, what))


async def aside(reader: Reader, keys: Keys, now_ms: int) -> dict[str, int]:
    """Recommendations that are set aside at this moment: until when, by id."""
    raw: dict[str, str] = await reader.ask("HGETALL", keys.recommendations)
    found = {what: int(text.split(" ", 1)[0]) for what, text in raw.items()}
    return {what: until for what, until in found.items() if until > now_ms}


def _text(amount: str, currency: str) -> str:
    """For people: whole units of a currency without a minor one, else two digits."""
    whole, _, part = amount.partition(".")
    if money.exponent(currency) == 6 or not part:
        return f"{whole} {currency}"
    return f"{whole}.{part[:2]} {currency}"
