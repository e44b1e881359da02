"""`spendgate price`: what one call would cost and why, by the very functions that the proxy uses.

Makes no call and opens no store. `work_out` is the calculation, the rest reads the command line and shows the result.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from proxy.cli.exchange import (
    Request,
    Response,
    Unreadable,
    header_of,
    parse_exchanges,
    parse_request,
    parse_response,
    request_of,
)
from proxy.cli.files import read
from proxy.cli.frame import Exit, Failure, Frame
from proxy.cli.help import Command, option
from proxy.cli.priced import Priced

if TYPE_CHECKING:
    from proxy.core.model import Api, RuleSet


def command(frame: Frame) -> click.Command:
    return Command(
        "price",
        frame,
        callback=lambda **given: run(frame, **given),
        params=[
            click.Argument(["url"], required=False),
            option(frame, "-X", "--method", text="method", metavar="METHOD"),
            option(frame, "-H", "--header", text="header", metavar="'NAME: VALUE'", multiple=True),
            option(frame, "-d", "--data", "body", text="body", metavar="BODY|@FILE"),
            option(frame, "--request", "request_file", text="request", metavar="FILE"),
            option(frame, "--response", "response_file", text="response", metavar="FILE"),
            option(frame, "--exchange", "exchange_file", text="exchange", metavar="FILE"),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--at", text="at", metavar="TIME"),
            option(frame, "--used", text="used", metavar="N"),
            option(frame, "--seconds", text="seconds", metavar="N"),
            option(frame, "--json", "as_json", text="json", is_flag=True),
        ],
    )


def run(frame: Frame, *, rules: str | None, at: str | None, used: str | None, seconds: str | None, **given: Any) -> int:
    from proxy.cli.rules import load

    known = load(frame, frame.settings(rules=rules).rules, keys=False)
    now_ms = _instant(frame, at, known.timezone)
    units = int(_number(frame, "--used", used) * 1000)
    elapsed = _number(frame, "--seconds", seconds)
    code = Exit.OK
    try:
        for number, (request, response) in enumerate(_calls(frame, given)):
            priced = work_out(known, request, response, now_ms, units, elapsed, frame.lang)
            if given["as_json"]:
                click.echo(json.dumps(as_json(known, priced, units), ensure_ascii=False))
            else:
                from proxy.cli.price_page import show

                if number:
                    click.echo()
                show(frame, known, priced, units)
            if priced.rule is None:
                code = Exit.FOUND
    except Unreadable as error:
        raise Failure(frame.say(f"price.{error.key}", **error.values)) from error
    return code


def _calls(frame: Frame, given: Mapping[str, Any]) -> Iterator[tuple[Request, Response | None]]:
    """The calls that the command line describes: one, or as many as the exchange file has lines."""
    if given["exchange_file"]:
        yield from parse_exchanges(read(frame, given["exchange_file"]))
        return
    response = parse_response(read(frame, given["response_file"])) if given["response_file"] else None
    if given["request_file"]:
        yield parse_request(read(frame, given["request_file"])), response
        return
    if not given["url"]:
        frame.fail("price.nothing")
    body = given["body"] or ""
    content = read(frame, body[1:]) if body.startswith("@") else body.encode()
    headers = [header_of(text) for text in given["header"]]
    if content and not any(name == "content-type" for name, _ in headers):
        kind = "application/json" if content.lstrip()[:1] in (b"{", b"[") else "application/x-www-form-urlencoded"
        headers.append(("content-type", kind))
    yield request_of(given["method"], given["url"], headers, content), response


def _instant(frame: Frame, text: str | None, timezone: str) -> int:
    if text is None:
        return time.time_ns() // 1_000_000
    from zoneinfo import ZoneInfo

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        frame.fail("price.bad_time", text=text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=ZoneInfo(timezone))
    return int(at.timestamp() * 1000)


def _number(frame: Frame, name: str, text: str | None) -> Decimal:
    if text is None:
        return Decimal(0)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 <= value < 10**12:
        frame.fail("price.bad_number", name=name, text=text)
    return value


def work_out(
    rules: RuleSet,
    request: Request,
    response: Response | None,
    now_ms: int,
    used_units: int,
    seconds: Decimal,
    language: str,
) -> Priced:
    """Match, estimate and, with a response, the actual price. used_units: thousandths drawn from the quota before."""
    from proxy.core import match, meter, price
    from proxy.core.model import Outbound, Policy

    api, path = _destination(rules, request)
    observed = rules.unknown is Policy.OBSERVE
    if api is None:
        return Priced(request, None, (), None, None, None, observed)
    outbound = Outbound(
        method=request.method,
        scheme=api.scheme,
        host=api.host,
        port=api.port,
        path=path,
        query=request.query,
        headers=request.headers,
        body=request.body,
        body_size=len(request.body),
    )
    tried = tuple(match.explain(api, outbound, language))
    rule = match.match(api, outbound)
    if rule is None:
        return Priced(request, api, tried, None, None, None, observed)
    estimate = price.estimate(rules, rule, outbound, now_ms, None)
    bill = None
    if response is not None:
        reader = meter.Meter(rule, outbound)
        reader.head(
            response.status, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        )
        reader.feed(response.body)
        usage = replace(
            reader.finish(True),
            sent=True,
            seconds=seconds,
            bytes_up=len(request.body),
            bytes_down=len(response.body),
        )
        position = used_units if estimate.quota is not None else None
        bill = price.actual(rules, rule, outbound, estimate, usage, position, now_ms)
    return Priced(request, api, tried, rule, estimate, bill, observed)


def _destination(rules: RuleSet, request: Request) -> tuple[Api | None, str]:
    """By the API's own URL, or by the proxy's: whichever the rules know."""
    from proxy.core import match

    api = match.destination_forward(rules, request.scheme, request.host, request.port)
    if api is not None:
        return api, request.path
    found = match.destination_reverse(rules, request.host, request.path)
    return found if found is not None else (None, request.path)


def as_json(rules: RuleSet, priced: Priced, used_units: int) -> dict[str, object]:
    """The stable form (docs/interfaces.md): amounts as decimal strings, cost None without a response."""
    from proxy.core import money, quota

    bill, estimate = priced.bill, priced.estimate
    cost = bill.cost if bill is not None else None
    state = bill.state.value if bill is not None else None
    if priced.rule is None:
        state = "unpriced" if priced.observed else "no_rule"
    return {
        "api": priced.api.name if priced.api else None,
        "rule": priced.rule.id if priced.rule else None,
        "estimate": money.format_decimal(quota.cost_at(estimate, used_units).atoms[rules.currency], rules.currency)
        if estimate
        else None,
        "cost": money.format_decimal(cost.atoms[rules.currency], rules.currency) if cost else None,
        "currency": rules.currency,
        "original_cost": money.plain(cost.original) if cost else None,
        "original_currency": cost.original_currency if cost else None,
        "state": state,
        "terms": [
            {
                "name": term.name,
                "quantity": money.plain(term.quantity),
                "unit_price": money.plain(term.unit_price),
                "amount": money.plain(term.amount),
            }
            for term in (cost.terms if cost else ())
        ],
        "fx_rate": money.plain(cost.fx_rate) if cost and cost.fx_rate is not None else None,
        "fx_date": cost.fx_date if cost else None,
        "usage": dict(bill.usage) if bill else None,
        "note": bill.note if bill else (estimate.problem if estimate else None),
    }
