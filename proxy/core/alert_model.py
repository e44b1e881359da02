"""Values about alerts that the rules, the leader and the admin port share: what there is to tell, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How much an alert matters. A critical one passes quiet hours and is never gathered with others."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return _RANK[self]


_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class Kind(StrEnum):
    """What there is to tell. THRESHOLD happens once; every other kind holds for a while and is resolved."""

    THRESHOLD = "threshold"  # a budget's spending reached a percentage of its limit
    FORECAST = "forecast"  # the period will probably end above the limit
    BURN = "burn"  # money goes several times as fast as the limit allows
    ANOMALY = "anomaly"  # an API or caller spends far more this hour than it usually does
    BREAKER = "breaker"  # a circuit is open
    UNPRICED = "unpriced"  # calls that cost money count as 0
    USAGE_MISSING = "usage_missing"  # answers without usage: their estimates are charged
    PROXY_SILENT = "proxy_silent"  # a proxy vanished without having stopped
    SERVICE_FAILED = "service_failed"  # a service could not be stopped or started
    INCIDENT = "incident"  # something went wrong that no other alert tells, or became worse, or was acted upon
    TEST = "test"  # `spendgate alerts test`


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Local times without deliveries below CRITICAL. end <= start: over midnight, counted to the day it begins on."""

    days: frozenset[int]  # 0 = Monday
    start_minute: int  # inclusive, minutes since local midnight
    end_minute: int  # exclusive


@dataclass(frozen=True, slots=True)
class Channel:
    """Somewhere that alerts go. Exactly one of target (an apprise URL), webhook and log is used.

    budgets, kinds: None = all; an alert that belongs to no budget goes to every channel. group_s: after a message, what
    is below CRITICAL waits this long to be told together; 0 = only what is there at the same moment.
    """

    name: str
    min_severity: Severity = Severity.WARNING
    target: str | None = field(default=None, repr=False)  # holds passwords
    webhook: str | None = field(default=None, repr=False)  # may hold one
    secret: str | None = field(default=None, repr=False)  # signs a webhook's messages
    log: bool = False
    budgets: frozenset[str] | None = None
    kinds: frozenset[Kind] | None = None
    quiet: QuietHours | None = None
    group_s: float = 0.0
    language: str = "en"

    @property
    def way(self) -> str:
        """ "webhook" | "log" | the scheme of the apprise URL ("slack", "mailtos"): says no secret."""
        if self.log:
            return "log"
        if self.webhook is not None:
            return "webhook"
        return (self.target or "").partition("://")[0].lower() or "-"


LOG_CHANNEL = Channel("log", Severity.INFO, log=True)  # what there is when the rules name no channel


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing told, or told to be over. Everything in `facts` is text, so that it survives the store unchanged.

    key: what it is about; while an alert of this key is open no second one is raised. budget: whose routing counts.
    """

    kind: Kind
    severity: Severity
    key: str
    budget: str | None
    facts: Mapping[str, str]
