"""The admin port's health answers: alive, and ready (rules loaded, store reachable).

Kept apart from the paid traffic's port, so that a probe never meets a budget; open to everybody, because they tell
nothing about money.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from proxy.started import Readiness


def application(readiness: Callable[[], Readiness], **options: Any) -> web.Application:
    """GET /healthz: 200 while the process lives. GET /readyz: 200 or 503 with the three facts as JSON."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        facts = readiness()
        return web.json_response(
            {
                "status": "ready" if facts.ready else "not_ready",
                "rules_loaded": facts.rules_loaded,
                "store_reachable": facts.store_reachable,
                "workers_running": facts.workers_running,
            },
            status=200 if facts.ready else 503,
        )

    app = web.Application(**options)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app
