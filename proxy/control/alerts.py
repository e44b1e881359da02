"""What there is to tell, to whom, and when.

Pure: facts in, alerts out. While an alert of a key is open, no second one is raised. Kinds that happen
(a threshold) are told once for ever; kinds that hold (a burn, an open circuit) are told once, and resolved when they
hold no more. Routing goes by severity, budget and kind; quiet hours and grouping only ever delay what is not critical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from proxy.control.anomalies import Band
from proxy.control.status import BudgetStatus
from proxy.control.thresholds import Burn, severity, upcoming
from proxy.core import money
from proxy.core.alert_model import Alert, Channel, Kind, QuietHours, Severity
from proxy.core.model import Budget
from proxy.core.threshold import effect, from_percent, percent_text, threshold_atoms
from proxy.core.windows import iso

_DAY_MINUTES: Final = 24 * 60
RESOLVED_SHARE_BP: Final = 9700  # an expected overrun is over when the forecast is this far below the limit
RETRY_FIRST_S: Final = 5
RETRY_LONGEST_S: Final = 3600
ATTEMPTS: Final = 12  # the last one about seven hours after the first


# --- what there is to tell ----------------------------------------------------------------------------------------


def money_facts(budget: Budget, status: BudgetStatus) -> dict[str, str]:
    """What is left and what will be refused next: in every alert about a budget."""

    def decimal(atoms: int) -> str:
        return money.format_decimal(atoms, budget.currency)

    following = upcoming(budget, status.limit_atoms, status.spent_atoms)
    facts = {
        "budget": budget.name,
        "period": status.period,
        "currency": budget.currency,
        "limit": decimal(status.limit_atoms),
        "spent": decimal(status.spent_atoms),
        "left": decimal(max(0, status.limit_atoms - status.spent_atoms)),
        "resets_at": iso(status.resets_ms, budget.timezone),
        "next_effect": "none",
    }
    if following is not None:
        until = threshold_atoms(status.limit_atoms, following) - status.spent_atoms
        date = next((one.at_ms for one in status.thresholds if one.basis_points == following), None)
        facts |= {
            "next_effect": effect(budget, following),
            "next_percent": percent_text(following),
            "next_after": decimal(until),
            "next_at": iso(date, budget.timezone) if date is not None else "",
        }
    return facts


def crossed(budget: Budget, status: BudgetStatus, entry: Mapping[str, str]) -> Alert:
    """A threshold, as the settlement script recorded it (an entry of the stream `thresholds`)."""
    basis_points = from_percent(entry["threshold"])
    facts = money_facts(budget, status) if entry["period"] == status.period else {}
    facts |= {
        "budget": budget.name,
        "period": entry["period"],
        "currency": entry["currency"],
        "percent": percent_text(basis_points),
        "effect": effect(budget, basis_points),
        "spent": entry["spent"].split()[0],
        "limit": entry["limit"].split()[0],
        "at": entry["at"],
    }
    # The limit belongs to the key: a threshold that is reached again after an increase is news.
    key = f"threshold:{budget.name}:{entry['period']}:{facts['percent']}:{facts['limit']}"
    return Alert(Kind.THRESHOLD, severity(budget, basis_points), key, budget.name, facts)


def forecast_overrun(budget: Budget, status: BudgetStatus) -> Alert | None:
    """The period will probably end above its limit; None when it will not, or too little is known to say so."""
    made = status.projection
    # A pace over less than three days is no forecast: somebody's first busy hour would always be an overrun.
    if made.made_by == "pace" or made.expected_atoms <= status.limit_atoms:
        return None

    def decimal(atoms: int) -> str:
        return money.format_decimal(atoms, budget.currency)

    facts = money_facts(budget, status) | {
        "expected": decimal(made.expected_atoms),
        "over": decimal(status.overrun_atoms),
        "made_by": made.made_by,
        "low": decimal(made.interval80[0]) if made.interval80 else "",
        "high": decimal(made.interval80[1]) if made.interval80 else "",
    }
    return Alert(Kind.FORECAST, Severity.WARNING, forecast_key(status), budget.name, facts)


def forecast_key(status: BudgetStatus) -> str:
    return f"forecast:{status.budget}:{status.period}"


def overrun_stays(status: BudgetStatus) -> bool:
    """Whether an open overrun stays open: the forecast has to fall clearly below the limit before it is resolved."""
    return status.projection.expected_atoms * 10_000 > status.limit_atoms * RESOLVED_SHARE_BP


def burning_fast(budget: Budget, status: BudgetStatus, burn: Burn, now_ms: int) -> Alert:
    facts = money_facts(budget, status) | {
        "hours": str(burn.window.long_ms // 3_600_000),
        "burnt": money.format_decimal(burn.spent_atoms, budget.currency),
        "times": f"{burn.times_tenths // 10}.{burn.times_tenths % 10}".removesuffix(".0"),
        "empty_at": iso(burn.empty_ms, budget.timezone) if burn.empty_ms is not None else "",
    }
    return Alert(Kind.BURN, burn.severity(now_ms), f"burn:{budget.name}:{status.period}", budget.name, facts)


def out_of_band(who: str, spent_atoms: int, found: Band, currency: str, hour: str) -> Alert:
    """who: "api|openai" or "caller|batch". hour: its beginning, ISO 8601."""
    sort, _, name = who.partition("|")
    facts = {
        "who": name,
        "sort": sort,
        "currency": currency,
        "spent": money.format_decimal(spent_atoms, currency),
        "usual": money.format_decimal(found.median_atoms, currency),
        "upper": money.format_decimal(found.upper_atoms, currency),
        "basis": found.basis,
        "hour": hour,
    }
    return Alert(Kind.ANOMALY, Severity.WARNING, f"anomaly:{who}:{hour}", None, facts)


def circuit_open(name: str, until: str) -> Alert:
    """name: of the API or rule. until: when the next probe is allowed, ISO 8601."""
    return Alert(Kind.BREAKER, Severity.WARNING, f"breaker:{name}", None, {"api": name, "until": until})


def proxy_silent(host: str, pid: int, listen: str, last: str) -> Alert:
    facts = {"host": host, "pid": str(pid), "listen": listen, "last": last}
    return Alert(Kind.PROXY_SILENT, Severity.CRITICAL, f"proxy:{host}:{pid}", None, facts)


def service_failed(service: str, wanted: str, error: str) -> Alert:
    """wanted: "stopped" | "running". error: one line for people, without a secret."""
    facts = {"service": service, "wanted": wanted, "error": error}
    return Alert(Kind.SERVICE_FAILED, Severity.CRITICAL, f"service:{service}", None, facts)


# Calls of a day that must lack usage, and their least share in percent: one broken stream is no alarm.
_MISSING_CALLS: Final = 5
_MISSING_PERCENT: Final = 5


def counting_trouble(day: str, calls: Mapping[str, int], notes: Mapping[tuple[str, str], int]) -> list[Alert]:
    """Alerts about what a day's calls were counted as, once a day and API. notes: (API, note) -> count."""
    found: list[Alert] = []
    for api in sorted({api for api, _ in notes}):
        facts = {"api": api, "day": day, "calls": str(calls.get(api, 0))}
        if count := notes.get((api, "unpriced_model"), 0) + notes.get((api, "no_rule"), 0):
            told = facts | {"unpriced": str(count)}
            found.append(Alert(Kind.UNPRICED, Severity.WARNING, f"unpriced:{api}:{day}", None, told))
        missing = notes.get((api, "usage_missing"), 0)
        if missing >= _MISSING_CALLS and missing * 100 >= _MISSING_PERCENT * calls.get(api, 0):
            told = facts | {"missing": str(missing)}
            found.append(Alert(Kind.USAGE_MISSING, Severity.WARNING, f"usage_missing:{api}:{day}", None, told))
    return found


# --- what holds and what is over ------------------------------------------------------------------------------------

# Told once, and over by itself: nobody is told that it is resolved.
HAPPENS: Final = frozenset({Kind.THRESHOLD, Kind.ANOMALY, Kind.UNPRICED, Kind.USAGE_MISSING, Kind.TEST})


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do about the alerts that hold: raise these, resolve the ones of these keys."""

    raised: tuple[Alert, ...]
    resolved: tuple[str, ...]


def changes(open_keys: Iterable[str], holding: Sequence[Alert], stays: Callable[[str], bool]) -> Changes:
    """open_keys: what is open now. holding: what is the case. stays: whether an open key must not be resolved yet."""
    known = set(open_keys)
    held = {alert.key for alert in holding}
    return Changes(
        tuple(alert for alert in holding if alert.key not in known),
        tuple(sorted(key for key in known - held if not stays(key))),
    )


# --- to whom, and when ----------------------------------------------------------------------------------------------


def takes(channel: Channel, kind: Kind, severity: Severity, budget: str | None) -> bool:
    """Whether a channel wants to hear of it."""
    if kind is Kind.TEST:
        return True
    if severity.rank < channel.min_severity.rank or (channel.kinds is not None and kind not in channel.kinds):
        return False
    return budget is None or channel.budgets is None or budget in channel.budgets


def quiet_until(quiet: QuietHours | None, timezone: str, now_ms: int) -> int | None:
    """The instant at which the quiet hours that hold now end; None when none hold."""
    if quiet is None:
        return None
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    minute = local.hour * 60 + local.minute
    over_midnight = quiet.end_minute <= quiet.start_minute
    length = (quiet.end_minute - quiet.start_minute) % _DAY_MINUTES
    for back in (0, 1) if over_midnight else (0,):
        into = minute + back * _DAY_MINUTES - quiet.start_minute
        if (local.weekday() - back) % 7 in quiet.days and 0 <= into < length:
            days = (1 if over_midnight else 0) - back + quiet.end_minute // _DAY_MINUTES
            hour, minutes = divmod(quiet.end_minute % _DAY_MINUTES, 60)
            day = local.date() + timedelta(days=days)
            end = datetime(day.year, day.month, day.day, hour, minutes, tzinfo=zone)
            return max(now_ms + 1, round(end.timestamp() * 1000))
    return None


def due_ms(channel: Channel, severity: Severity, timezone: str, now_ms: int, last_sent_ms: int | None = None) -> int:
    """When a channel may be told: now, after its quiet hours, or when its group closes. Critical: always now."""
    if severity is Severity.CRITICAL:
        return now_ms
    due = now_ms
    if channel.group_s and last_sent_ms is not None:
        due = max(due, last_sent_ms + round(channel.group_s * 1000))
    return quiet_until(channel.quiet, timezone, due) or due


def retry_after_s(attempt: int) -> int | None:
    """The pause after the failed attempt number `attempt` (from 1); None: give up."""
    return None if attempt >= ATTEMPTS else min(RETRY_FIRST_S * 3 ** (attempt - 1), RETRY_LONGEST_S)
