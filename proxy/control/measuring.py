"""How much of a fixed cost is used and how large it is, asked of the Prometheus that rules.yaml names.

One range query each; all are asked side by side, each with its own time-out. What cannot be asked is told in the log
and is not known: recommendations then say nothing of it.

Source of the answer's shape: https://prometheus.io/docs/prometheus/latest/querying/api/ (range queries, "matrix").
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp
import structlog

from proxy.control.optimize.facts import Growth, Use
from proxy.core.fixed_model import FixedCost, Gauge

log = structlog.get_logger()

USE_DAYS: Final = 7
SIZE_DAYS: Final = 30
_DAY_S: Final = 86_400
_USE_STEP_S: Final = 3600
_SIZE_STEP_S: Final = 6 * 3600
_LONGEST_ANSWER: Final = 16 * 1024 * 1024

Samples = list[tuple[float, float]]  # (Unix s, value), ascending


class Unmeasured(Exception):
    """Prometheus did not answer, or not with numbers; `str()` says what, without a secret."""


async def measure(costs: Sequence[FixedCost], now_ms: int) -> tuple[dict[str, Use], dict[str, Growth]]:
    """(utilisation, growth) by the fixed cost's name, of those that could be measured."""
    gauges = [(cost, gauge) for cost in costs for gauge in (cost.utilisation, cost.size) if gauge is not None]
    if not gauges:
        return {}, {}
    used: dict[str, Use] = {}
    grown: dict[str, Growth] = {}
    async with aiohttp.ClientSession(trust_env=False) as session:

        async def one(cost: FixedCost, gauge: Gauge) -> None:
            is_use = gauge is cost.utilisation
            days, step_s = (USE_DAYS, _USE_STEP_S) if is_use else (SIZE_DAYS, _SIZE_STEP_S)
            try:
                samples = await ask(session, gauge, now_ms // 1000, days * _DAY_S, step_s)
            except Unmeasured as error:
                log.warning(
                    "resource.unmeasured", cost=cost.name, what="utilisation" if is_use else "size", why=str(error)
                )
                return
            if is_use:
                values = [value for _, value in samples]
                used[cost.name] = Use(sum(values) / len(values), max(values), round(len(values) * step_s / _DAY_S))
            else:
                (began_s, then), (ended_s, now) = samples[0], samples[-1]
                grown[cost.name] = Growth(then, now, round((ended_s - began_s) / _DAY_S))

        await asyncio.gather(*(one(cost, gauge) for cost, gauge in gauges))
    return used, grown


async def ask(session: aiohttp.ClientSession, gauge: Gauge, end_s: int, length_s: int, step_s: int) -> Samples:
    """The query's values over the span, at least one; of several series their mean each time. Raises Unmeasured."""
    headers = {"Authorization": f"Bearer {gauge.token}"} if gauge.token else {}
    form = {"query": gauge.query, "start": str(end_s - length_s), "end": str(end_s), "step": str(step_s)}
    try:
        async with (
            asyncio.timeout(gauge.timeout_s),
            session.post(
                f"{gauge.url}/api/v1/query_range", data=form, headers=headers, allow_redirects=False
            ) as answer,
        ):
            body = await answer.content.read(_LONGEST_ANSWER)
            if answer.status != 200:
                raise Unmeasured(f"Prometheus answered {answer.status}{_reason(body)}")
    except TimeoutError:
        raise Unmeasured(f"Prometheus did not answer within {gauge.timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Unmeasured(str(error) or type(error).__name__) from error
    return _samples(body)


def _samples(body: bytes) -> Samples:
    try:
        document = json.loads(body)
        series: list[Mapping[str, Any]] = document["data"]["result"]
        if document["data"]["resultType"] != "matrix":
            raise Unmeasured("the query gives no numbers over time")
        values: dict[float, list[float]] = {}
        for one in series:
            for at_s, text in one["values"]:
                if math.isfinite(value := float(text)):
                    values.setdefault(float(at_s), []).append(value)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unmeasured("the answer is not Prometheus's") from None
    if not values:
        raise Unmeasured("the query found nothing")
    return [(at_s, sum(found) / len(found)) for at_s, found in sorted(values.items())]


def _reason(body: bytes) -> str:
    """What Prometheus says is wrong with the query, for the log."""
    try:
        return f": {str(json.loads(body)['error'])[:200]}"
    except (ValueError, KeyError, TypeError):
        return ""
