"""Certificates for intercepted hosts: made on demand, once, beside the event loop, and kept for a while.

Decides what is made when, and which authority signs. Must not know rules or requests.

Mutable state: `Leaves` holds one worker's authority, its certificates (the least used go first), and those being made.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from proxy.core.interception import Scope

if TYPE_CHECKING:
    from proxy.data.ca import Authority, Leaf

log = structlog.get_logger()

MOST = 500
LOOK_EVERY_S = 1.0


class NoCertificate(Exception):
    """There is no authority, or it cannot sign for this host. detail: for logs and the client."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def _utc() -> datetime:
    return datetime.now(UTC)


class Leaves:
    """The certificates of one worker. folder: of the authority."""

    def __init__(self, folder: Path, now: Callable[[], datetime] = _utc) -> None:
        self.folder = folder
        self.made = 0  # certificates made so far
        self._now = now
        self._authority: Authority | None = None
        self._kept: OrderedDict[str, Leaf] = OrderedDict()
        self._making: dict[str, asyncio.Task[Leaf]] = {}
        self._scope = Scope()
        self._seen: tuple[int, int] | None = None  # of the authority's file: when it was written, which one it is
        self._look_at_s = 0.0

    async def follow(self, scope: Scope) -> None:
        """Have an authority for these hosts; an empty scope needs none. A failure is logged and ends interception."""
        self._scope = scope
        if not scope:
            self._use(None)
            return
        from proxy.data import ca  # cryptography takes a tenth of a second to import: only where it is needed

        try:
            change = await asyncio.to_thread(ca.ensure, self.folder, scope, self._now())
        except ca.CaError as error:
            log.error("ca.unusable", reason=error.key, **error.values)
            self._use(None)
            return
        if change.kind != "kept":
            log.warning(
                f"ca.{change.kind}",
                file=str(self.folder / ca.CERTIFICATE),
                fingerprint=change.authority.fingerprint,
                trust_anew_for=", ".join(change.added or scope.hosts),
                removed=", ".join(change.removed),
            )
        self._use(change.authority)
        self._seen = self._stamp()

    async def _notice_others(self) -> None:
        """Another process may have issued the authority anew (`spendgate ca rotate`): look, at most once a second."""
        now_s = asyncio.get_running_loop().time()
        if self._scope and now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_EVERY_S
            if self._stamp() != self._seen:
                await self.follow(self._scope)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = (self.folder / "ca.pem").stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _use(self, authority: Authority | None) -> None:
        known = self._authority
        if known is None or authority is None or known.certificate != authority.certificate:
            self._kept.clear()
            self._authority = authority

    async def context(self, host: str) -> ssl.SSLContext:
        """What to answer a handshake for this host with. Raises NoCertificate."""
        await self._notice_others()
        leaf = self._kept.get(host)
        if leaf is not None and self._now() < leaf.renew_at:
            self._kept.move_to_end(host)
            return leaf.context
        authority = self._authority
        if authority is None:
            raise NoCertificate("there is no certificate authority to sign with")
        making = self._making.get(host)
        if making is None:
            making = self._making[host] = asyncio.create_task(self._make(authority, host))
            making.add_done_callback(lambda _: self._making.pop(host, None))
        return (await asyncio.shield(making)).context

    async def _make(self, authority: Authority, host: str) -> Leaf:
        try:
            leaf = await asyncio.to_thread(authority.leaf, host, self._now())
        except (ValueError, OSError) as error:
            raise NoCertificate(f"no certificate for this host: {error}") from error
        self.made += 1
        if authority is self._authority:
            self._kept[host] = leaf
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return leaf
