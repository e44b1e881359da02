"""Kept answers in Redis, and the flights of calls that will bring one.

Decides how an answer is written down and how long a leader is believed to be alive. Which answers are kept and what
they are good for is core/cache.py's. A store that is away keeps nothing and knows nothing: no call fails because of it.

Mutable state, this worker's: the flights that it leads (to renew), looks under way (shared by identical calls), and who
waits for a flight here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from proxy.core.cache import Kept
from proxy.core.http1 import Field
from proxy.state import resp
from proxy.state.keys import Keys
from proxy.state.store import Reply, ScriptError, Store, StoreUnavailable

log = structlog.get_logger()

LEASE_MS: Final = 3000
OVER_MS: Final = 5000  # how long waiters can learn that there will be no answer for them
_AWAY: Final = (StoreUnavailable, ScriptError)
_encode = msgspec.json.Encoder().encode
_decode_kept = msgspec.json.Decoder(Kept).decode
_decode_headers = msgspec.json.Decoder(list[tuple[str, str]]).decode


@dataclass(frozen=True, slots=True)
class Answer:
    """A kept answer. pieces: sizes of the pieces in which its body arrived; None: it came with a length.

    cost_atoms: what the call that brought it was billed, in `currency`.
    """

    kept: Kept
    status: int
    headers: list[Field]
    body: bytes
    pieces: tuple[int, ...] | None
    cost_atoms: int
    currency: str

    @property
    def stored(self) -> str:
        """What tells this answer from an earlier or later one to the same question."""
        return str(self.kept.stored_ms)


@dataclass(frozen=True, slots=True)
class About:
    """Whose answer it is, for people who look into Redis.

    url: its address, where the answer must be forgotten when something is done there; "" for all others.
    """

    api: str
    rule: str
    caller: str  # "*" where it is everybody's
    method: str
    path: str
    url: str = ""


class Answers:
    """The kept answers of one tenant, as one worker sees them."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._led: dict[str, str] = {}  # digest -> token
        self._looks: dict[str, asyncio.Future[Answer | None]] = {}
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}

    async def look(self, digest: str) -> Answer | None:
        """The kept answer to a question, if there is one. Identical looks at one moment are one."""
        under_way = self._looks.get(digest)
        if under_way is not None:
            return await asyncio.shield(under_way)
        future = self._looks[digest] = asyncio.ensure_future(self._read(digest))
        future.add_done_callback(lambda _: self._looks.pop(digest, None))
        return await asyncio.shield(future)

    async def _read(self, digest: str) -> Answer | None:
        try:
            flat: list[bytes] = await self._store.call("HGETALL", self._keys.cached(digest))
        except _AWAY:
            return None
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if not fields:
            return None
        try:
            return Answer(
                kept=_decode_kept(fields[b"kept"]),
                status=int(fields[b"status"]),
                headers=[(n.encode("latin-1"), v.encode("latin-1")) for n, v in _decode_headers(fields[b"headers"])],
                body=fields[b"body"],
                pieces=tuple(map(int, fields[b"pieces"].split())) if b"pieces" in fields else None,
                cost_atoms=int(fields[b"cost"]),
                currency=fields[b"currency"].decode(),
            )
        except (ValueError, KeyError) as error:
            log.warning("cache.unreadable", digest=digest, error=str(error))  # of another version; it ends by itself
            return None

    # --- flights -------------------------------------------------------------------------------------------------

    async def join(self, digest: str, token: str, seen: Answer | None) -> str | None:
        """Lead the flight of a question, or learn who does: the leader's token; "" to look again; None: store away."""
        named = (self._keys.flight(digest), self._keys.cached(digest))
        parts = resp.words(2, *named, token, LEASE_MS, seen.stored if seen else "")
        try:
            reply: list[Reply] = await self._store.script("cache_join", parts)
        except _AWAY:
            return None
        if reply[0] == 1:
            self._led[digest] = token
            return token
        return str(reply[1].decode()) if reply[0] == 2 else ""

    async def leader(self, digest: str) -> str | None:
        """Who leads the flight now, "over:" and its token when nothing will come of it; None: nobody, or store away."""
        try:
            found: bytes | None = await self._store.call("GET", self._keys.flight(digest))
        except _AWAY:
            return None
        return found.decode() if found is not None else None

    async def wait(self, digest: str, seconds: float) -> None:
        """Until a flight of this worker to that question ends, or the time is over."""
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(digest, set())
        waiters.add(waiter)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await waiter
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiters.get(digest) is waiters:
                del self._waiters[digest]

    def led_here(self, token: str) -> bool:
        """Whether this worker leads it: its end will be told at once."""
        return token in self._led.values()

    async def end(self, digest: str, token: str, how: str) -> None:
        """End a flight without an answer: "over", everybody asks for itself; "free", another one may lead."""
        self._led.pop(digest, None)
        try:
            await self._tell(digest, token, how, OVER_MS)
        except _AWAY:
            pass  # it ends by itself when its lease has run out
        finally:
            self._wake(digest)

    async def renew(self) -> None:
        """Give the flights of this worker a new lease. Raises StoreUnavailable."""
        for digest, token in tuple(self._led.items()):
            await self._tell(digest, token, "renew", LEASE_MS)

    async def _tell(self, digest: str, token: str, how: str, lease_ms: int) -> None:
        """Raises as Store.script."""
        await self._store.script("cache_end", resp.words(1, self._keys.flight(digest), token, how, lease_ms))

    async def maintain(self) -> None:
        """Run until cancelled: renew what this worker leads."""
        while True:
            await asyncio.sleep(LEASE_MS / 3000)
            with contextlib.suppress(*_AWAY):
                await self.renew()

    # --- keeping -------------------------------------------------------------------------------------------------

    async def keep(
        self, digest: str, token: str, answer: Answer, about: About, *, keep_ms: int, most: int, given_now: int = 0
    ) -> None:
        """Write an answer down and end its flight. most: bytes of all answers of the rule.

        given_now: tests give their own clock; 0 = Redis's.
        """
        keys = self._keys
        texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
        fields: dict[str, str | bytes | int] = {
            "stored": answer.stored,
            "kept": _encode(answer.kept),
            "status": answer.status,
            "headers": _encode(texts),
            "body": answer.body,
            "cost": answer.cost_atoms,
            "currency": answer.currency,
            "api": about.api,
            "rule": about.rule,
            "caller": about.caller,
            "method": about.method,
            "path": about.path,
        }
        if answer.pieces is not None:
            fields["pieces"] = " ".join(map(str, answer.pieces))
        flat = [word for pair in fields.items() for word in pair]
        size = len(answer.body) + sum(len(name) + len(value) for name, value in answer.headers)
        named = [keys.cached(digest), keys.flight(digest), keys.cache_ends(about.rule), keys.cache_sizes(about.rule)]
        if about.url:
            named.append(keys.cached_at(_address(about.url)))
        member = f"{digest} {about.rule}"
        parts = resp.words(len(named), *named, token, digest, given_now, keep_ms, size, most, member, *flat)
        self._led.pop(digest, None)
        try:
            gone: list[bytes] = await self._store.script("cache_keep", parts)
            if gone:
                await self._store.call("UNLINK", *[keys.cached(name.decode()) for name in gone])
        except _AWAY as error:
            log.warning("cache.not_kept", rule=about.rule, reason=str(error))
        finally:
            self._wake(digest)

    async def forget(self, url: str) -> int:
        """Forget every answer kept for an address, whoever it belongs to; returns how many there were."""
        keys, index = self._keys, self._keys.cached_at(_address(url))
        by_rule: dict[str, list[str]] = {}
        try:
            members: list[bytes] = await self._store.call("ZRANGE", index, 0, -1)
            for member in members:
                digest, _, rule = member.decode().partition(" ")
                by_rule.setdefault(rule, []).append(digest)
            gone = 0
            for rule, digests in by_rule.items():
                named = [index, keys.cache_ends(rule), keys.cache_sizes(rule), *map(keys.cached, digests)]
                words = [word for digest in digests for word in (digest, f"{digest} {rule}")]
                gone += await self._store.script("cache_forget", resp.words(len(named), *named, *words))
            return gone
        except _AWAY as error:
            log.warning("cache.not_forgotten", url=url.partition("?")[0], reason=str(error))
            return 0

    def _wake(self, digest: str) -> None:
        for waiter in self._waiters.pop(digest, ()):
            if not waiter.done():
                waiter.set_result(None)


def _address(url: str) -> str:
    """An address as a name that fits into a key."""
    return hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()
