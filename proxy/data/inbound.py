"""What a request on the wire asks for: the way in, the API, the caller, the rule.

Decides everything that can be decided from the request and the rules alone, and answers with a `Call` or a `Denied`.
Must not know prices, Redis or the upstream.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from proxy.core import authority, decode, match
from proxy.core.fieldnames import PerName
from proxy.core.headers import max_forwards, wants_websocket
from proxy.core.identify import ANONYMOUS, Identified, recognise
from proxy.core.model import (
    Api,
    Caller,
    Denied,
    EstimateMode,
    Match,
    OnExhausted,
    Outbound,
    Policy,
    Price,
    Priority,
    Reason,
    Rule,
    RuleSet,
    Speaks,
)
from proxy.core.text import say
from proxy.core.websocket import handshake_problem
from proxy.data.server import Exchange

# A body is read whole before admission only where a rule looks into it, and only up to this size; what is larger
# streams, is estimated by its size, and matches no rule that asks for a field of it.
BODY_READ_LIMIT = 20 * 1024 * 1024

HEADER_ENCODING = "latin-1"  # header bytes survive the way to text and back
_NAME_TEXT = PerName(lambda name: name.decode(HEADER_ENCODING).lower())


class Call(msgspec.Struct, frozen=True, gc=False):
    """One call that the rules know. `observed`: no rule covers it, and the policy lets it pass unpriced."""

    api: Api
    rule: Rule
    caller: Caller
    outbound: Outbound
    payload: bytes | None  # the body as it came, where it was read; `outbound.body` is its decoded text
    forward: bool  # came as to a forward proxy
    key_header: str | None  # header that carried the caller's virtual key; never forwarded
    observed: bool = False
    named: bool = True  # rules.yaml names its destination; what it does not name must not lead into the private network


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A refusal with the error shape that the API's own clients understand."""

    denied: Denied
    speaks: Speaks = Speaks.PROBLEM


class Opening(msgspec.Struct, frozen=True, gc=False):
    """A CONNECT whose inside the rules want to see: nothing is spent yet, each request inside is a call of its own."""

    api: Api
    host: str
    port: int
    caller: Caller


class Inside(msgspec.Struct, frozen=True, gc=False):
    """The intercepted tunnel that a request came through. scheme: "https", or "http" where the inside is plain."""

    scheme: str
    host: str
    port: int
    caller: Caller  # who opened the tunnel


Opens = Callable[[Api, str, Caller], bool]
"""Whether a tunnel of this caller to this host of an intercepted API is opened, or passes unseen."""


def _never(_api: Api, _host: str, _caller: Caller) -> bool:
    return False


def ends_here(exchange: Exchange) -> bool:
    """Whether the request asks its last allowed stop, the proxy itself, to answer (RFC 9110 §7.6.2)."""
    return exchange.method == "OPTIONS" and max_forwards(exchange.method, exchange.headers)[0] == 0


async def read(
    rules: RuleSet, exchange: Exchange, inside: Inside | None = None, opens: Opens = _never
) -> Call | Opening | Refused:
    """Understand one request. Reads its body only where a rule of its API looks into bodies.

    inside: the intercepted tunnel that it came through. opens: asked for a CONNECT to an intercepted API.
    """
    target = authority.parse_target(exchange.method, exchange.target)
    if isinstance(target, authority.Refusal):
        return _bad(rules, target.code)
    if exchange.method == "TRACE":
        # TRACE would send the injected credentials back to the client (RFC 9110 §9.3.8).
        return _bad(rules, "trace")
    websocket = wants_websocket(exchange.headers)
    if websocket and handshake_problem(exchange.method, exchange.minor, exchange.headers):
        return _bad(rules, "websocket")
    headers = tuple([(_NAME_TEXT[name], value.decode(HEADER_ENCODING)) for name, value in exchange.headers])
    forward = target.authority is not None or inside is not None
    path, _, query = target.path.partition("?")
    if inside is not None:
        if not _belongs(inside, target, exchange.host):
            return _bad(rules, "misdirected", status=421)
        scheme, host, port = inside.scheme, inside.host, inside.port
        api = match.destination_forward(rules, scheme, host, port)
    elif target.authority is not None:
        scheme = "connect" if target.form == "authority" else target.scheme or "http"
        host, port = target.authority.host, target.authority.port or 0
        api = match.destination_forward(rules, scheme, host, port)
    else:
        found = match.destination_reverse(rules, exchange.host.host if exchange.host is not None else None, path)
        if found is None:
            mounts = ", ".join(f"/{known.mount}" for known in rules.apis) or "-"
            return _no_rule(text="no_mount", target=path, mounts=mounts)
        api, path = found
        scheme, host, port = api.scheme, api.host, api.port

    who = recognise(rules, headers, forward) if inside is None else _recognised_inside(rules, headers, inside)
    speaks = api.speaks if api is not None else Speaks.PROBLEM
    if isinstance(who, Denied):
        return Refused(who, speaks)
    if scheme == "connect" and api is not None and api.intercept and opens(api, host, who.caller):
        return Opening(api, host, port, who.caller)
    normal = match.normal_path(path) if scheme != "connect" else None
    if normal is None and scheme != "connect" and path != "*":
        return _bad(rules, "dot_segments", speaks)

    body: bytes | None = None
    size = exchange.body.length
    if size == 0:
        body = b""
    elif api is not None and scheme != "connect" and match.looks_into_bodies(rules, api):
        body = await exchange.body.read(BODY_READ_LIMIT)
        if body is not None:
            size = len(body)
    coding = _header(headers, "content-encoding") if body else None
    text = body if body is None or coding is None else _readable(body, coding)
    outbound = Outbound(exchange.method, scheme, host, port, path, query, headers, text, size, websocket)

    if api is None:
        if rules.unknown is not Policy.OBSERVE:
            return _no_rule(method=exchange.method, target=_shown(scheme, host, port, path))
        if authority.is_private(host):
            return _no_rule(text="private_destination", target=host)
        api, rule = _observed(host, port, scheme, rules.currency)
        caller = who.caller if isinstance(who, Identified) else ANONYMOUS
        return Call(api, rule, caller, outbound, body, True, who.header, observed=True, named=False)
    rule_found = match.match(api, outbound, normal)
    if rule_found is None:
        if scheme == "connect":
            return _no_rule(text="opaque_tunnel", target=f"{host}:{port}", mount=api.mount)
        if websocket and rules.unknown is not Policy.OBSERVE:
            return _no_rule(speaks, text="no_websocket_rule", target=_shown(scheme, host, port, path))
        if rules.unknown is not Policy.OBSERVE:
            shown = _shown(scheme, host, port, path) if forward else f"/{api.mount}{path}"
            return _no_rule(speaks, method=exchange.method, target=shown)
        _, rule_found = _observed(api.name, port, scheme, rules.currency)
        return Call(api, rule_found, who.caller, outbound, body, forward, who.header, observed=True)
    return Call(api, rule_found, who.caller, outbound, body, forward, who.header)


def _belongs(inside: Inside, target: authority.Target, host: authority.Authority | None) -> bool:
    """Whether a request inside a tunnel is for the host that the tunnel was opened to (RFC 9110 §7.4)."""
    usual = authority.DEFAULT_PORTS[inside.scheme]
    for named in (target.authority, host):
        if named is not None and (named.host, named.port or usual) != (inside.host, inside.port):
            return False
    return target.form in ("origin", "asterisk") or (target.form == "absolute" and target.scheme == inside.scheme)


def _recognised_inside(rules: RuleSet, headers: tuple[tuple[str, str], ...], inside: Inside) -> Identified | Denied:
    """A known key shown inside counts (and goes no further); else whoever opened the tunnel, if still known."""
    found = recognise(rules, headers, forward=False)
    if isinstance(found, Identified) and found.header is not None:
        return found
    if rules.require_caller and inside.caller not in rules.callers:
        return Denied(Reason.UNKNOWN_CALLER, 401)
    return Identified(inside.caller)


def _header(headers: tuple[tuple[str, str], ...], wanted: str) -> str | None:
    for name, value in headers:
        if name == wanted:
            return value
    return None


def _readable(body: bytes, coding: str) -> bytes | None:
    """The text of a compressed body, for rules that look into it. None: it cannot be read, and counts as not read."""
    if coding.strip().lower() == "identity":
        return body
    decoder = decode.decoder(coding, BODY_READ_LIMIT)
    if decoder is None:
        return None
    text = b"".join(decoder.feed(body))
    return None if decoder.full or decoder.broken else text


def _shown(scheme: str, host: str, port: int, path: str) -> str:
    """A destination of the forward proxy as a person knows it: without the port that goes without saying."""
    name = f"[{host}]" if ":" in host else host
    return f"{name}{path}" if authority.DEFAULT_PORTS.get(scheme) == port else f"{name}:{port}{path}"


def _no_rule(speaks: Speaks = Speaks.PROBLEM, **detail: str) -> Refused:
    return Refused(Denied(Reason.NO_RULE, 403, detail=detail), speaks)


def _bad(rules: RuleSet, code: str, speaks: Speaks = Speaks.PROBLEM, status: int = 400) -> Refused:
    problem = say(f"wire.{code}", rules.language)
    return Refused(Denied(Reason.BAD_REQUEST, status, detail={"problem": problem}), speaks)


@lru_cache(maxsize=1024)
def _observed(name: str, port: int, scheme: str, currency: str) -> tuple[Api, Rule]:
    """Stand-ins for a destination that no rule names: forwarded as it is, recorded as unpriced."""
    rule = Rule(
        id=f"{name}/observed",
        api=name,
        match=Match(),
        price=Price(currency=currency),
        priority=Priority.OPTIONAL,
        estimate=EstimateMode.WORST_CASE,
        on_exhausted=OnExhausted.FINISH,
        max_output_tokens=0,
        max_input_tokens=None,
        max_seconds=0,
        max_kb=0,
        where="-",
        needs_body=False,
        needs_response=False,
        for_websockets=True,
    )
    api = Api(
        name=name,
        scheme="http" if scheme == "connect" else scheme,
        host=name,
        port=port,
        base_path="",
        hosts=(name,),
        mount="",
        credentials=(),
        speaks=Speaks.PROBLEM,
        rules=(rule,),
        connect_timeout_s=10,
        read_timeout_s=300,
        total_timeout_s=None,
    )
    return api, rule
