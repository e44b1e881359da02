"""What moves, as it moves: server-sent events for programs, from the same looks at Redis as the open pages.

Five kinds of event, each the whole answer of its route: `levels` (budgets as `spendgate status --json` tells them),
`emergency`, `incidents` (open ones), `services`, `alerts` (the newest). Whoever connects gets all of them at once, and
then each that changed, within a second; in between a comment every five seconds shows that the connection lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Final

from aiohttp import web

from proxy.admin import auth, routes_alerts, routes_emergency, routes_incidents, routes_services
from proxy.admin.dashboard import live as news
from proxy.admin.dashboard.asking import Asker
from proxy.admin.problems import Problem
from proxy.admin.routes import Call, Route
from proxy.core.admin_model import Role
from proxy.state.ledger import Ledger

_ROUTES: Final = {
    (route.method, route.path): route
    for route in (*routes_alerts.ROUTES, *routes_emergency.ROUTES, *routes_incidents.ROUTES, *routes_services.ROUTES)
}
_ALERTS: Final = "20"
_BEAT: Final = b": beat\n\n"


async def events(call: Call) -> web.StreamResponse:
    """Until the asker goes, or its token leaves the rules."""
    live = call.request.app[news.LIVE]
    response = web.StreamResponse(headers={**news.STREAM, "Cache-Control": "no-store"})
    await response.prepare(call.request)
    await response.write(b"retry: 2000\n\n")
    sent: dict[str, str] = {}
    key = ("events", call.language, call.person.role.value)
    with live.watching(key, lambda: _draw(call)) as picture, contextlib.suppress(ConnectionError, Problem):
        if not picture.html:
            picture.show(await _draw(call))
        while True:
            changed = picture.changed
            for name, text in (line.split(" ", 1) for line in picture.html.splitlines()):
                if sent.get(name) != text:
                    sent[name] = text
                    await response.write(news.event(text, name))
            try:
                async with asyncio.timeout(news.BEAT_EVERY_S):
                    await changed.wait()
            except TimeoutError:
                rules = call.desk.rules()
                auth.identify(call.request, rules.admin if rules is not None else None)
                await response.write(_BEAT)
    return response


async def _draw(call: Call) -> str:
    """One line a kind of event: its name, a blank, its JSON."""
    ask = Asker(call.desk, call.person, call.language, call.request, _ROUTES)
    told: dict[str, Any] = {
        "levels": {"budgets": await Ledger(call.client, call.desk.keys).levels(call.rules.budgets, call.now_ms())},
        "emergency": await ask.get("/emergency"),
        "incidents": await ask.get("/incidents"),
        "services": await ask.get("/services"),
        "alerts": await ask.get("/alerts", {"limit": _ALERTS}),
    }
    return "\n".join(f"{name} {json.dumps(document, ensure_ascii=False)}" for name, document in told.items())


ROUTES = [
    Route("GET", "/events", Role.VIEWER, "Levels, switches, incidents, services and alerts as they change", events,
          stream="text/event-stream", tag="system"),
]  # fmt: skip
