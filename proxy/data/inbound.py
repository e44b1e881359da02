"""What a request on the wire asks for: the way in, the API, the caller, the rule.

Decides everything that can be decided from the request and the rules alone, and answers with a `Call` or a `Denied`.
Must not know prices, Redis or the upstream.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from proxy.core import authority, decode, match, standins
from proxy.core.fieldnames import PerName
from proxy.core.guards import NO_GUARDS
from proxy.core.headers import max_forwards, wants_websocket
from proxy.core.http1 import Field
from proxy.core.identify import Identified, recognise
from proxy.core.model import (
    Api,
    Budget,
    Caller,
    Denied,
    Outbound,
    Policy,
    Reason,
    Rule,
    RuleSet,
    Speaks,
)
from proxy.core.text import say
from proxy.core.websocket import handshake_problem
from proxy.data.server import Exchange
from proxy.data.upstream import Origin

# A body is read whole before admission only where a rule looks into it, and only up to this size; what is larger
# streams, is estimated by its size, and matches no rule that asks for a field of it.
BODY_READ_LIMIT = 20 * 1024 * 1024

HEADER_ENCODING = "latin-1"  # header bytes survive the way to text and back
_NAME_TEXT = PerName(lambda name: name.decode(HEADER_ENCODING).lower())


class Heading:
    """What the head of a request says under these rules. Kept where the head may come again: nobody may change it.

    rule: where the head alone decides, with the budgets and guards of its calls. frame: where the request goes, and its
    ready head around the body's length; set by whoever forwards the first such call. Nothing may be in it that differs
    from call to call.
    """

    __slots__ = (
        *(
            "api",
            "budgets",
            "coding",
            "forward",
            "frame",
            "guards",
            "headers",
            "host",
            "length_at",
            "normal",
            "path",
            "port",
            "query",
            "reads_body",
        ),
        *("rule", "scheme", "websocket", "who"),
    )

    def __init__(
        self,
        api: Api | None,
        scheme: str,
        host: str,
        port: int,
        path: str,
        query: str,
        headers: tuple[tuple[str, str], ...],
        length_at: int,
        forward: bool,
        who: Identified,
        normal: str | None,
        reads_body: bool,
        websocket: bool,
    ) -> None:
        self.api = api
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.query = query
        self.headers = headers
        self.length_at = length_at
        self.forward = forward
        self.who = who
        self.normal = normal
        self.reads_body = reads_body
        self.websocket = websocket
        self.coding = _header(headers, "content-encoding")
        self.rule: Rule | None = None
        self.budgets: tuple[Budget, ...] = ()
        self.guards = NO_GUARDS
        self.frame: tuple[Origin, bytes, bytes | None] | None = None

    def headers_of(self, exchange: Exchange) -> tuple[tuple[str, str], ...]:
        """The headers of this request: those of the head that was kept, with its own length."""
        at = self.length_at
        if at < 0:
            return self.headers
        length = exchange.headers[at][1].decode(HEADER_ENCODING)
        name, kept = self.headers[at]
        return self.headers if kept == length else (*self.headers[:at], (name, length), *self.headers[at + 1 :])


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
    added: tuple[Field, ...] = ()  # request fields of our own
    dropped: frozenset[bytes] = frozenset()  # request fields that do not go on, in lower case
    named: bool = True  # rules.yaml names its destination; what it does not name must not lead into the private network
    heading: Heading | None = None  # what its head says, where that was kept


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A refusal with the error shape that the API's own clients understand."""

    denied: Denied
    speaks: Speaks = Speaks.PROBLEM
    unknown: str | None = None  # the host that no rule knows, as `host_name` writes it
    caller: str = ""


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
    heading = _known(rules, exchange) if inside is None else None
    if heading is None:
        told = _understand(rules, exchange, inside, opens)
        if not isinstance(told, Heading):
            return told
        heading = told
        if inside is None:
            _keep(rules, exchange, heading)
    api, who, path = heading.api, heading.who, heading.path
    scheme, host, port, forward = heading.scheme, heading.host, heading.port, heading.forward
    body: bytes | None = None
    size = exchange.body.length
    if size == 0:
        body = b""
    elif heading.reads_body:
        came = exchange.body
        if came.complete and came.received <= BODY_READ_LIMIT and not exchange.expects_continue:
            body = came.take_whole()  # as nearly always: nobody waits
        else:
            body = await came.read(BODY_READ_LIMIT)
        if body is not None:
            size = len(body)
    text = _readable(body, heading.coding) if body and heading.coding is not None else body
    headers = heading.headers_of(exchange)
    outbound = Outbound(
        exchange.method, scheme, host, port, path, heading.query, headers, text, size, heading.websocket
    )
    if heading.rule is not None and api is not None:
        return Call(api, heading.rule, who.caller, outbound, body, forward, who.header, heading=heading)

    if api is None:
        unknown = host_name(scheme, host, port)
        if rules.unknown is not Policy.OBSERVE:
            refused = _no_rule(method=exchange.method, target=_shown(scheme, host, port, path))
            return replace(refused, unknown=unknown, caller=who.caller.name)
        if authority.is_private(host):
            refused = _no_rule(text="private_destination", target=host)
            return replace(refused, unknown=unknown, caller=who.caller.name)
        api, rule = standins.observed(host, port, scheme, rules.currency)
        return Call(api, rule, who.caller, outbound, body, True, who.header, observed=True, named=False)
    rule_found = match.match(api, outbound, heading.normal)
    if rule_found is None:
        if scheme == "connect":
            refused = _no_rule(text="opaque_tunnel", target=f"{host}:{port}", mount=api.mount)
            return replace(refused, unknown=host_name(scheme, host, port), caller=who.caller.name)
        if heading.websocket and rules.unknown is not Policy.OBSERVE:
            return _no_rule(api.speaks, text="no_websocket_rule", target=_shown(scheme, host, port, path))
        if rules.unknown is not Policy.OBSERVE:
            shown = _shown(scheme, host, port, path) if forward else f"/{api.mount}{path}"
            return _no_rule(api.speaks, method=exchange.method, target=shown)
        _, rule_found = standins.observed(api.name, port, scheme, rules.currency)
        return Call(api, rule_found, who.caller, outbound, body, forward, who.header, observed=True)
    return Call(api, rule_found, who.caller, outbound, body, forward, who.header)


def _understand(rules: RuleSet, exchange: Exchange, inside: Inside | None, opens: Opens) -> Heading | Opening | Refused:
    """What the head says: which API is meant, who calls, and whether the body is needed to know more."""
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
    reads_body = api is not None and scheme != "connect" and match.looks_into_bodies(rules, api)
    at = exchange.length_at
    return Heading(api, scheme, host, port, path, query, headers, at, forward, who, normal, reads_body, websocket)


_HEADINGS_KEPT = 512
_headings: dict[bytes, tuple[RuleSet, Heading]] = {}


def _known(rules: RuleSet, exchange: Exchange) -> Heading | None:
    kept = _headings.get(exchange.key) if exchange.key is not None else None
    return kept[1] if kept is not None and kept[0] is rules else None


def _keep(rules: RuleSet, exchange: Exchange, heading: Heading) -> None:
    """Remember a heading whose head may come again, with its rule where no body can change it."""
    api = heading.api
    if exchange.key is None or api is None or heading.scheme == "connect" or heading.websocket:
        return
    if match.by_head_alone(rules, api):
        outbound = Outbound(
            *(exchange.method, heading.scheme, heading.host, heading.port, heading.path, heading.query),
            heading.headers,
        )
        heading.rule = match.match(api, outbound, heading.normal)
    if heading.rule is not None:
        heading.budgets = match.chain(rules, api, heading.rule, heading.who.caller)
        heading.guards = match.guards(rules, api, heading.rule, heading.who.caller)
    if len(_headings) >= _HEADINGS_KEPT:
        _headings.clear()
    _headings[exchange.key] = (rules, heading)


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


def host_name(scheme: str, host: str, port: int) -> str:
    """A host in one form: "name" or "name:port" of HTTPS and tunnels, "http://name" of plain HTTP."""
    name = f"[{host}]" if ":" in host else host
    usual = 80 if scheme == "http" else 443
    name = name if port == usual else f"{name}:{port}"
    return f"http://{name}" if scheme == "http" else name


def _shown(scheme: str, host: str, port: int, path: str) -> str:
    """A destination of the forward proxy as a person knows it: without the port that goes without saying."""
    name = f"[{host}]" if ":" in host else host
    return f"{name}{path}" if authority.DEFAULT_PORTS.get(scheme) == port else f"{name}:{port}{path}"


def _no_rule(speaks: Speaks = Speaks.PROBLEM, **detail: str) -> Refused:
    return Refused(Denied(Reason.NO_RULE, 403, detail=detail), speaks)


def _bad(rules: RuleSet, code: str, speaks: Speaks = Speaks.PROBLEM, status: int = 400) -> Refused:
    problem = say(f"wire.{code}", rules.language)
    return Refused(Denied(Reason.BAD_REQUEST, status, detail={"problem": problem}), speaks)
