"""Every Redis key of spendgate, its shape and its lifetime: the one list.

All keys of one tenant share the hash tag {tenant}, so that a tenant lives in one slot of a cluster and one script may
touch all of them. Every key has a lifetime: nothing that spendgate writes stays for ever. docs/redis.md tells the
same list to people, and a test holds the two together.
"""

from __future__ import annotations

DAY_S = 86_400

BUDGET_KEPT_S = 400 * DAY_S  # after the period's end: a year's comparison, and a month to look at it
LEDGER_KEPT_S = 400 * DAY_S  # after the month's end
ROLLUP_KEPT_S = 400 * DAY_S  # after the day's end
QUOTA_KEPT_S = 40 * DAY_S  # after the period's end
SETTLED_KEPT_S = 3 * DAY_S  # after the day of admission: how late the repeat of a settlement is still recognised
UNCONFIRMED_KEPT_S = 7 * DAY_S  # how late a settlement may come after its lease ran out
LEARNED_KEPT_S = 40 * DAY_S
HOSTS_KEPT_S = 40 * DAY_S  # after the day's end
IN_FLIGHT_KEPT_S = 40 * DAY_S  # refreshed by every reclaim while a proxy runs
LIMITS_KEPT_S = 2 * DAY_S  # after the last call; a breaker two days after its last change or call
SWITCHES_KEPT_S = 400 * DAY_S  # after the last switch
PROXY_KEPT_S = 15
PROXIES_KEPT_S = DAY_S  # after the last sign of life of any
LEADER_KEPT_S = 40 * DAY_S  # after the last renewal: the fencing token only ever grows
FORECAST_KEPT_S = 2 * DAY_S  # after the last forecast
ADVICE_KEPT_S = 2 * DAY_S  # after the last look
RECOMMENDATIONS_KEPT_S = 400 * DAY_S  # after the last one that was dismissed or put off
CHARGES_KEPT_S = 400 * DAY_S  # after the last one
SERVICES_KEPT_S = 400 * DAY_S  # after the last change
AUDIT_KEPT_S = 1100 * DAY_S  # after the last entry: three years to look back
ALERTS_KEPT_S = 400 * DAY_S  # after the alert
INCIDENTS_KEPT_S = 400 * DAY_S  # after the incident's last change
OUTBOX_KEPT_S = 40 * DAY_S  # after the last delivery that was put there
STATUS_KEPT_S = 400 * DAY_S  # after the last refresh
PACE_KEPT_S = 2 * DAY_S  # after the last sample
HOURS_KEPT_S = 100 * DAY_S  # after the day: fourteen weeks of the same hour

# Pattern -> Redis type. docs/redis.md must list exactly these.
PATTERNS: dict[str, str] = {
    "switches": "hash",
    "budget:<name>:<period>": "hash",
    "quota:<rule>:<period>": "hash",
    "limits:<scope>:<name>": "hash",
    "breaker:<name>": "hash",
    "repeats:<api>": "hash",
    "reservations": "hash",
    "leases": "zset",
    "settled:<day>": "set",
    "unconfirmed:<id>": "hash",
    "ledger:<month>": "stream",
    "thresholds": "stream",
    "day:<day>": "hash",
    "day:<day>:callers": "zset",
    "hosts:<day>": "hash",
    "learned:<rule>:<model>": "list",
    "proxy:<host>:<pid>": "hash",
    "proxies": "zset",
    "leader": "hash",
    "forecast:<kind>:<name>": "hash",
    "forecasts": "set",
    "advice": "hash",
    "recommendations": "hash",
    "cache:<digest>": "hash",
    "cache:flight:<digest>": "string",
    "cache:ends:<rule>": "zset",
    "cache:sizes:<rule>": "hash",
    "cache:at:<digest>": "zset",
    "session:<digest>": "hash",
    "login:<address>": "string",
    "charges": "hash",
    "services": "hash",
    "audit": "stream",
    "audit:head": "hash",
    "alerts": "stream",
    "alerts:open": "hash",
    "alerts:told": "zset",
    "alert:<id>": "hash",
    "incidents": "stream",
    "incidents:open": "hash",
    "incident:<id>": "hash",
    "outbox": "stream",
    "outbox:later": "zset",
    "outbox:dead": "stream",
    "status:<budget>": "hash",
    "status:<budget>:hours": "stream",
    "status:<budget>:days": "hash",
    "pace": "stream",
    "hours:<day>": "hash",
}


def switches_of(api: str, rule: str, caller: str) -> tuple[str, ...]:
    """Fields of `switches` that a call obeys, in the order in which the scripts are given them."""
    return ("bypass", "stop", "lift:all", f"lift:api:{api}", f"api:{api}", f"rule:{rule}", f"caller:{caller}")


def pause_of(api: str) -> str:
    """Field of `switches` in which a pause stands that the API asked for."""
    return f"pause:{api}"


class Keys:
    """Names of one tenant's keys. Labels are those of core/windows.py."""

    __slots__ = (
        "advice",
        "alerts",
        "alerts_open",
        "alerts_told",
        "audit",
        "audit_head",
        "charges",
        "forecasts",
        "incidents",
        "incidents_open",
        "leader",
        "leases",
        "outbox",
        "outbox_dead",
        "outbox_later",
        "pace",
        "prefix",
        "proxies",
        "reservations",
        "services",
        "switches",
        "thresholds",
    )

    def __init__(self, tenant: str = "main") -> None:
        self.prefix = f"spendgate:{{{tenant}}}:"
        self.reservations = f"{self.prefix}reservations"
        self.leases = f"{self.prefix}leases"
        self.switches = f"{self.prefix}switches"
        self.thresholds = f"{self.prefix}thresholds"
        self.leader = f"{self.prefix}leader"
        self.advice = f"{self.prefix}advice"
        self.proxies = f"{self.prefix}proxies"
        self.forecasts = f"{self.prefix}forecasts"
        self.charges = f"{self.prefix}charges"
        self.services = f"{self.prefix}services"
        self.audit = f"{self.prefix}audit"
        self.audit_head = f"{self.prefix}audit:head"
        self.alerts = f"{self.prefix}alerts"
        self.alerts_open = f"{self.prefix}alerts:open"
        self.alerts_told = f"{self.prefix}alerts:told"
        self.incidents = f"{self.prefix}incidents"
        self.incidents_open = f"{self.prefix}incidents:open"
        self.outbox = f"{self.prefix}outbox"
        self.outbox_later = f"{self.prefix}outbox:later"
        self.outbox_dead = f"{self.prefix}outbox:dead"
        self.pace = f"{self.prefix}pace"

    def budget(self, name: str, period: str) -> str:
        return f"{self.prefix}budget:{name}:{period}"

    def forecast(self, kind: str, name: str) -> str:
        return f"{self.prefix}forecast:{kind}:{name}"

    @property
    def recommendations(self) -> str:
        return f"{self.prefix}recommendations"

    def quota(self, rule: str, period: str) -> str:
        return f"{self.prefix}quota:{rule}:{period}"

    def limits(self, place: str) -> str:
        """place: "api:openai", "rule:openai/chat" or "caller:batch"."""
        return f"{self.prefix}limits:{place}"

    def breaker(self, name: str) -> str:
        return f"{self.prefix}breaker:{name}"

    def repeats(self, api: str) -> str:
        return f"{self.prefix}repeats:{api}"

    def settled(self, day: str) -> str:
        return f"{self.prefix}settled:{day}"

    def unconfirmed(self, call_id: str) -> str:
        return f"{self.prefix}unconfirmed:{call_id}"

    def ledger(self, month: str) -> str:
        return f"{self.prefix}ledger:{month}"

    def day(self, day: str) -> str:
        return f"{self.prefix}day:{day}"

    def day_callers(self, day: str) -> str:
        return f"{self.prefix}day:{day}:callers"

    def hosts(self, day: str) -> str:
        return f"{self.prefix}hosts:{day}"

    def learned(self, rule: str, model: str) -> str:
        return f"{self.prefix}learned:{rule}:{model}"

    def cached(self, digest: str) -> str:
        return f"{self.prefix}cache:{digest}"

    def flight(self, digest: str) -> str:
        return f"{self.prefix}cache:flight:{digest}"

    def cache_ends(self, rule: str) -> str:
        return f"{self.prefix}cache:ends:{rule}"

    def cache_sizes(self, rule: str) -> str:
        return f"{self.prefix}cache:sizes:{rule}"

    def cached_at(self, digest: str) -> str:
        """digest: of the address."""
        return f"{self.prefix}cache:at:{digest}"

    def proxy(self, host: str, pid: int) -> str:
        return f"{self.prefix}proxy:{host}:{pid}"

    def session(self, digest: str) -> str:
        return f"{self.prefix}session:{digest}"

    def login(self, address: str) -> str:
        return f"{self.prefix}login:{address}"

    def alert(self, alert_id: str) -> str:
        return f"{self.prefix}alert:{alert_id}"

    def incident(self, incident_id: str) -> str:
        return f"{self.prefix}incident:{incident_id}"

    def status(self, budget: str) -> str:
        return f"{self.prefix}status:{budget}"

    def status_hours(self, budget: str) -> str:
        return f"{self.prefix}status:{budget}:hours"

    def status_days(self, budget: str) -> str:
        return f"{self.prefix}status:{budget}:days"

    def hours(self, day: str) -> str:
        return f"{self.prefix}hours:{day}"
