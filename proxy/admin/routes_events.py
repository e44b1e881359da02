"""What moves, as it moves: server-sent events for programs, from the same looks at Redis as the open pages.

Five kinds of event, each the whole answer of its route: `levels` (budgets as `spendgate status --json` tells them),
`emergency`, `incidents` (open ones), `services`, `alerts` (the newest). Whoever connects gets all of them at once, and
then each that changed, within a second; in between a comment every five seconds shows that the connection lives.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from proxy.admin import routes_alerts, routes_emergency, routes_incidents, routes_services
from proxy.admin.dashboard import live as news
from proxy.admin.dashboard.asking import Asker
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
    watcher = news.Watcher(call.request, web.StreamResponse(), _BEAT)
    await watcher.begin({**news.STREAM, "Cache-Control": "no-store"}, b"retry: 2000\n\n")
    key = ("events", call.language, call.person.role.value)
    with call.request.app[news.LIVE].watching(key, lambda: _draw(call), watcher):
        await watcher.gone.wait()
    return watcher.response


async def _draw(call: Call) -> dict[str, str]:
    """By kind of event its JSON."""
    ask = Asker(call.desk, call.person, call.language, call.request, _ROUTES)
    told: dict[str, Any] = {
        "levels": {"budgets": await Ledger(call.client, call.desk.keys).levels(call.rules.budgets, call.now_ms())},
        "emergency": await ask.get("/emergency"),
        "incidents": await ask.get("/incidents"),
        "services": await ask.get("/services"),
        "alerts": await ask.get("/alerts", {"limit": _ALERTS}),
    }
    return {name: json.dumps(document, ensure_ascii=False) for name, document in told.items()}


ROUTES = [
    Route("GET", "/events", Role.VIEWER, "Levels, switches, incidents, services and alerts as they change", events,
          stream="text/event-stream", tag="system"),
]  # fmt: skip
