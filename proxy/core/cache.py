"""Which answers are kept, for whom, for how long, and when one may stand in for a call (RFC 9111).

Decides over values: a request and its rule's policy give a `Question` (the key, and what the client allows), the head
of an answer gives a `Lifetime` or none, a kept answer and an instant give a `Verdict`. Must not know where they
are kept.

What the rule says and RFC 9111 leaves open: answers to POST are kept (the rule asks for it, and the body belongs to the
key); the rule's `ttl` is how long an answer without a lifetime of its own is fresh, and the longest that any is.
A kept answer belongs to the caller that asked, unless the rule says `shared`; credentials enter the key only as part of
its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

from proxy.core.authority import DEFAULT_PORTS
from proxy.core.canonical import canonical_json
from proxy.core.handling_model import CachePolicy
from proxy.core.http1 import Field
from proxy.core.model import Outbound

FOREVER_S = 2**31  # RFC 9111 §1.2.2: what is larger counts as this
_METHODS = frozenset(("GET", "POST"))
SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))  # RFC 9110 §9.2.1
# Whose answer this is, where the API decides by one of them.
CREDENTIALS = frozenset(("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"))
_CONDITIONS = frozenset(("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"))
_CLOCKS_DIFFER_MS = 2000  # Date is told in whole seconds by another machine's clock: so much of an age is none
_NOT_KEPT = frozenset((b"age", b"set-cookie", b"set-cookie2", b"connection", b"proxy-authenticate"))


class Verdict(StrEnum):
    """What a kept answer is good for, and the value of X-Spendgate-Cache where it was used."""

    FRESH = "hit"
    STALE = "stale"  # only where the rule, the client or a failure asks for it
    USELESS = "miss"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the cache for one call.

    use: whether a kept answer may be given (the new one is kept either way). only_kept: a kept answer or none.
    max_age_ms, min_fresh_ms, max_stale_ms: what the client allows; None = it says nothing.
    private: the answer will be this caller's alone. authorized: the API sees a credential of the client's own.
    """

    key: str
    use: bool = True
    only_kept: bool = False
    max_age_ms: int | None = None
    min_fresh_ms: int = 0
    max_stale_ms: int = 0
    private: bool = True
    authorized: bool = False
    accept_encoding: str | None = None
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long an answer may be kept and used. age_ms: how old it was when it came.

    must_revalidate: never given once it is not fresh. vary: (name, value) of the request headers that the API chose by.
    """

    fresh_ms: int
    age_ms: int = 0
    must_revalidate: bool = False
    vary: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a kept answer without its body."""

    stored_ms: int
    lifetime: Lifetime
    etag: str | None = None
    last_modified: str | None = None
    encoding: str = ""  # Content-Encoding, lower case

    @property
    def validated(self) -> bool:
        """Whether the API can be asked if it still holds."""
        return self.etag is not None or self.last_modified is not None

    def age_ms(self, now_ms: int) -> int:
        return self.lifetime.age_ms + max(0, now_ms - self.stored_ms)


# --- Cache-Control ---------------------------------------------------------------------------------------------------


def directives(values: Iterable[str]) -> dict[str, str | None]:
    """Directives of Cache-Control by lower-case name, with their arguments without quotes; the first one counts."""
    found: dict[str, str | None] = {}
    for value in values:
        for part in _split(value):
            name, equals, argument = part.partition("=")
            name = name.strip().lower()
            if name:
                text = argument.strip()
                if len(text) >= 2 and text[0] == text[-1] == '"':
                    text = text[1:-1].replace("\\", "")
                found.setdefault(name, text if equals else None)
    return found


def _split(value: str) -> list[str]:
    """At commas outside quotes."""
    if '"' not in value:
        return value.split(",")
    parts, quoted, begin = [], False, 0
    for at, character in enumerate(value):
        if character == '"' and (at == 0 or value[at - 1] != "\\"):
            quoted = not quoted
        elif character == "," and not quoted:
            parts.append(value[begin:at])
            begin = at + 1
    return [*parts, value[begin:]]


def seconds(text: str | None) -> int | None:
    """Delta-seconds (RFC 9111 §1.2.2); None for anything else."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return min(int(text[:12]), FOREVER_S) if len(text) <= 12 else FOREVER_S


# --- the request -----------------------------------------------------------------------------------------------------


def question(
    policy: CachePolicy,
    outbound: Outbound,
    *,
    rule: str,
    caller: str,
    url: str,
    injected: frozenset[str] = frozenset(),
    key_header: str | None = None,
) -> Question | None:
    """What this call asks of the cache; None: nothing, it goes past.

    url: scheme, authority, path and query of the API. injected: lower-case headers that the proxy sets itself.
    key_header: the one that carried the caller's key for the proxy.
    """
    if outbound.method not in _METHODS or outbound.scheme == "connect" or outbound.websocket:
        return None
    if outbound.body is None:
        return None
    names = {name for name, _ in outbound.headers}
    if "range" in names or names & {"if-match", "if-unmodified-since", "if-range"}:
        return None
    said = directives(value for name, value in outbound.headers if name == "cache-control")
    if "no-store" in said:
        return None
    if not any(name == "cache-control" for name in names) and "no-cache" in (outbound.header("pragma") or "").lower():
        said["no-cache"] = None
    credentials = [(name, value) for name, value in outbound.headers if name in CREDENTIALS]
    max_age = seconds(said.get("max-age"))
    max_stale = said.get("max-stale", "0")
    keys_replaced = bool(injected & CREDENTIALS)
    own = [name for name, _ in credentials if name != key_header and name not in injected]
    if keys_replaced:  # with a key of ours among them, the client's keys go from all of the usual headers
        own = [name for name in own if name == "cookie"]
    return Question(
        key=_key(policy, outbound, rule, url, None if policy.shared else (caller, credentials)),
        use="no-cache" not in said and max_age != 0,
        only_kept="only-if-cached" in said,
        max_age_ms=None if max_age is None else max_age * 1000,
        min_fresh_ms=(seconds(said.get("min-fresh")) or 0) * 1000,
        max_stale_ms=FOREVER_S * 1000 if max_stale is None else (seconds(max_stale) or 0) * 1000,
        private=not policy.shared,
        authorized=bool(own),
        accept_encoding=_joined(outbound, "accept-encoding"),
        conditional=bool(names & _CONDITIONS),
    )


def _key(
    policy: CachePolicy,
    outbound: Outbound,
    rule: str,
    url: str,
    owner: tuple[str, list[tuple[str, str]]] | None,
) -> str:
    """SHA-256 over everything that makes two calls the same, each part with its length before it."""
    body = outbound.body or b""
    form = canonical_json(body) if body else b""
    parts: list[bytes] = [rule.encode(), outbound.method.encode(), url.encode("utf-8", "surrogateescape")]
    if form is None:
        parts += [b"raw", (_joined(outbound, "content-type") or "").encode("latin-1", "replace"), body]
    else:
        parts += [b"json", form]
    for name in policy.vary:
        value = _joined(outbound, name) or ""
        if name == "accept" and value == "*/*":
            value = ""  # says as much as saying nothing (RFC 9110 §12.5.1)
        parts += [name.encode(), value.encode("utf-8", "surrogatepass")]
    if owner is not None:
        caller, credentials = owner
        parts += [b"caller", caller.encode()]
        for name, value in sorted(credentials):
            parts += [name.encode(), value.encode("utf-8", "surrogatepass")]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def _joined(outbound: Outbound, name: str) -> str | None:
    """All values of a header as one (RFC 9110 §5.3); None where it is not there."""
    values = [" ".join(value.split()) for key, value in outbound.headers if key == name]
    return ", ".join(values) if values else None


# --- the answer ------------------------------------------------------------------------------------------------------


def lifetime(
    policy: CachePolicy, asked: Question, outbound: Outbound, status: int, headers: Sequence[Field], now_ms: int
) -> Lifetime | None:
    """How long a complete answer may be used; None: it must not be kept."""
    if not 200 <= status <= 299 or status == 206:
        return None
    values = _texts(headers)
    if "content-range" in values:
        return None
    said = directives(values.get("cache-control", ())) if policy.obey else {}
    if "no-store" in said or (not asked.private and "private" in said):
        return None
    if asked.authorized and not asked.private and not said.keys() & {"public", "must-revalidate", "s-maxage"}:
        return None  # RFC 9111 §3.5
    vary = _chosen_by(values.get("vary", ()), outbound)
    if vary is None:
        return None
    explicit = _explicit_s(said, values, asked.private) if policy.obey else None
    fresh_ms = policy.ttl_ms if explicit is None else min(policy.ttl_ms, explicit * 1000)
    if "no-cache" in said:
        fresh_ms = 0
    strict = "must-revalidate" in said or "no-cache" in said
    if not asked.private:
        strict = strict or "proxy-revalidate" in said or "s-maxage" in said
    age = seconds((values.get("age") or ["0"])[0].split(",")[0].strip()) or 0
    date = _date_ms(values.get("date"))
    apparent_ms = max(0, now_ms - date) if date is not None and policy.obey else 0
    if apparent_ms < _CLOCKS_DIFFER_MS:
        apparent_ms = 0
    return Lifetime(fresh_ms, max(age * 1000, apparent_ms), strict, vary)


def _explicit_s(said: Mapping[str, str | None], values: Mapping[str, list[str]], private: bool) -> int | None:
    """Lifetime that the API gives: s-maxage (shared), max-age, Expires (RFC 9111 §4.2.1); a malformed one is over."""
    for name in ("max-age",) if private else ("s-maxage", "max-age"):
        if name in said:
            return seconds(said[name]) or 0
    if "expires" in values:
        expires, date = _date_ms(values["expires"]), _date_ms(values.get("date"))
        if expires is None or date is None:
            return 0
        return max(0, (expires - date) // 1000)
    return None


def _chosen_by(vary: Iterable[str], outbound: Outbound) -> tuple[tuple[str, str], ...] | None:
    """The request headers that Vary names with their values; None for "*". Encodings are compared on their own."""
    names = sorted({name.strip().lower() for value in vary for name in value.split(",")} - {"", "accept-encoding"})
    if "*" in names:
        return None
    return tuple((name, _digest(_joined(outbound, name))) for name in names)


def _digest(value: str | None) -> str:
    """A header's value as it is kept: the header may be a credential."""
    return "" if value is None else hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _date_ms(values: Sequence[str] | None) -> int | None:
    if not values:
        return None
    try:
        when = parsedate_to_datetime(values[0])
        return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None


def kept_headers(headers: Iterable[Field]) -> list[Field]:
    """What of an answer's head is kept: all but its age, its cookies, and what this proxy adds for each answer."""
    return [
        field
        for field in headers
        if (name := field[0].lower()) not in _NOT_KEPT and not name.startswith(b"x-spendgate-")
    ]


def _texts(headers: Iterable[Field]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    return found


def described(headers: Sequence[Field], stored_ms: int, life: Lifetime) -> Kept:
    """A kept answer's own description, from its head."""
    values = _texts(headers)
    return Kept(
        stored_ms,
        life,
        etag=next(iter(values.get("etag", ())), None),
        last_modified=next(iter(values.get("last-modified", ())), None),
        encoding=", ".join(values.get("content-encoding", ())).lower(),
    )


# --- may it stand in? ------------------------------------------------------------------------------------------------


def verdict(policy: CachePolicy, asked: Question, outbound: Outbound, kept: Kept, now_ms: int) -> Verdict:
    """What a kept answer is good for now. STALE is for when a fresh one cannot be had, or the client takes it."""
    life = kept.lifetime
    if _chosen_by([", ".join(name for name, _ in life.vary)], outbound) != life.vary:
        return Verdict.USELESS
    if not accepts(asked.accept_encoding, kept.encoding):
        return Verdict.USELESS
    age_ms = kept.age_ms(now_ms)
    left_ms = life.fresh_ms - age_ms
    if asked.max_age_ms is not None and age_ms > asked.max_age_ms:
        return Verdict.USELESS
    if left_ms > 0 and left_ms >= asked.min_fresh_ms:
        return Verdict.FRESH
    if asked.min_fresh_ms or life.must_revalidate:
        return Verdict.USELESS
    allowed_ms = max(policy.stale_ms, asked.max_stale_ms)
    return Verdict.STALE if -left_ms <= allowed_ms else Verdict.USELESS


def client_takes(asked: Question, kept: Kept, now_ms: int) -> bool:
    """Whether the client itself said that an answer so stale is good enough (max-stale)."""
    return kept.age_ms(now_ms) - kept.lifetime.fresh_ms <= asked.max_stale_ms and asked.max_stale_ms > 0


def keep_ms(policy: CachePolicy, kept: Kept) -> int:
    """How long an answer is kept from its arrival on. 0: there is no use in keeping it.

    While it is fresh, and while it may be of use afterwards: stale, or to ask the API whether it still holds.
    """
    life = kept.lifetime
    left = max(0, life.fresh_ms - life.age_ms) + (0 if life.must_revalidate else policy.stale_ms)
    return max(left, policy.ttl_ms) if kept.validated else left


def accepts(accept_encoding: str | None, encoding: str) -> bool:
    """Whether a client that sent this Accept-Encoding reads a body of this Content-Encoding (RFC 9110 §12.5.3)."""
    weights: dict[str, float] = {}
    for part in (accept_encoding or "").lower().split(","):
        name, _, parameters = part.partition(";")
        quality = parameters.replace(" ", "").removeprefix("q=")
        try:
            weights[name.strip()] = float(quality) if quality else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    codings = [coding.strip().removeprefix("x-") for coding in encoding.split(",") if coding.strip()]
    if not codings or codings == ["identity"]:
        return weights.get("identity", weights.get("*", 1.0) if "*" in weights else 1.0) > 0
    return all(weights.get(coding, weights.get("*", 0.0)) > 0 for coding in codings)


def not_modified(outbound: Outbound, kept: Kept) -> bool:
    """Whether the client's own If-None-Match or If-Modified-Since says that it has this answer (RFC 9110 §13.2.2)."""
    wanted = outbound.header("if-none-match")
    if outbound.method != "GET":
        return False
    if wanted is not None:
        if kept.etag is None:
            return False
        tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
        return "*" in tags or kept.etag.removeprefix("W/") in tags
    since, modified = outbound.header("if-modified-since"), kept.last_modified
    if since is None or modified is None:
        return False
    have, is_from = _date_ms([since]), _date_ms([modified])
    return have is not None and is_from is not None and is_from <= have


def made_untrue(url: str, outbound: Outbound, status: int, headers: Iterable[Field]) -> list[str]:
    """Addresses at which this call may have changed something, so that answers kept for them are to be forgotten.

    RFC 9111 §4.4: its own, and those in Location and Content-Location of the same host, when an unsafe method had no
    error for an answer. url: of the API, with its port. [] for all other calls.
    """
    if outbound.method in SAFE or not 200 <= status <= 399:
        return []
    own = urlsplit(url)
    found = [url]
    for name, value in headers:
        if name.lower() in (b"location", b"content-location"):
            try:
                named = urlsplit(urljoin(url, value.decode("latin-1").strip()))
                port = named.port or DEFAULT_PORTS.get(named.scheme)
            except ValueError:
                continue
            if (named.scheme, named.hostname, port) == (own.scheme, own.hostname, own.port):
                found.append(f"{own.scheme}://{own.netloc}{named.path}?{named.query}")
    return list(dict.fromkeys(found))


def validators(kept: Kept) -> list[Field]:
    """Fields that ask the API whether a kept answer still holds (RFC 9111 §4.3.1)."""
    out: list[Field] = []
    if kept.etag is not None:
        out.append((b"If-None-Match", kept.etag.encode("latin-1")))
    if kept.last_modified is not None:
        out.append((b"If-Modified-Since", kept.last_modified.encode("latin-1")))
    return out


def freshened(old: Sequence[Field], new: Sequence[Field]) -> list[Field]:
    """A kept head brought up to date by a 304 (RFC 9111 §3.2): its fields replace those of the same name."""
    fresh = [f for f in kept_headers(new) if f[0].lower() not in (b"content-length", b"content-encoding")]
    names = {name.lower() for name, _ in fresh}
    return [field for field in old if field[0].lower() not in names] + fresh
