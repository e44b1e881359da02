"""`spendgate price`: what one call would cost and why, by the very functions that the proxy uses.

Makes no call and opens no store. core/trial.py works it out; this reads the command line and shows the result.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from proxy.cli.files import read
from proxy.cli.frame import Exit, Failure, Frame
from proxy.cli.help import Command, option
from proxy.core.recording import (
    Request,
    Response,
    Unreadable,
    header_of,
    parse_exchanges,
    parse_request,
    parse_response,
    request_of,
)


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
    from proxy.core.trial import as_json, work_out

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
