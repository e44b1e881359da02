"""The list of pages and of what their forms do: one line each."""

from __future__ import annotations

from proxy.admin.dashboard import (
    alerts,
    emergency,
    forecast,
    foretell,
    gather,
    incidents,
    optimize,
    rules,
    services,
    usage,
)
from proxy.admin.dashboard.app import Action, Page

PAGES = (
    Page("overview", "/", "overview.html", gather.page, live="overview_live.html"),
    Page("forecast", "/forecast", "forecast.html", forecast.page, live="forecast_live.html"),
    Page("optimize", "/optimize", "optimize.html", optimize.page),
    Page("services", "/services", "services.html", services.page),
    Page("usage", "/usage", "usage.html", usage.page, live="usage_live.html"),
    Page("entry", "/usage/{id}", "entry.html", usage.entry, tab=False),
    Page("alerts", "/alerts", "alerts.html", alerts.page, live="alerts_live.html"),
    Page("rules", "/rules", "rules.html", rules.page),
    Page("emergency", "/emergency", "emergency.html", emergency.page, tab=False),
    Page("will", "/emergency/will", "emergency_will.html", foretell.fragment, tab=False),
)

ACTIONS: tuple[Action, ...] = (
    *emergency.ACTIONS,
    *incidents.ACTIONS,
    *alerts.ACTIONS,
    *optimize.ACTIONS,
    *services.ACTIONS,
)
