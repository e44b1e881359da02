"""Watch the money: refresh every budget's status, and tell what there is to tell.

The leader looks at the stream of thresholds every second and at everything else every few seconds. All decisions are
in status.py, thresholds.py, anomalies.py and alerts.py; this file asks, hands over and writes down. What was measured
goes on to the emergency desk (responder.py), so that nothing is measured twice. Mutable state: the last statuses, the
samples of the last hours, the proxies seen alive, the alerts that were told, and when each kind of look was last taken.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from proxy.control import alerts as telling
from proxy.control import anomalies, pace
from proxy.control.emergency import Fire, Measures, Unusual
from proxy.control.gather import Gatherer
from proxy.control.jobs import Context
from proxy.control.responder import Responder
from proxy.control.status import BudgetStatus, document, when
from proxy.control.storecheck import StoreCheck
from proxy.control.thresholds import burning
from proxy.core.alert_model import Alert, Severity
from proxy.core.history import Day, calls_by_api
from proxy.core.model import Budget, Period, PeriodUnit, RuleSet, Window
from proxy.core.windows import iso, local_day, window_at
from proxy.state import proxies, services
from proxy.state.outbox import Outbox
from proxy.state.watching import PaceSample, Watching

log = structlog.get_logger()

THRESHOLDS_EVERY_S: Final = 1.0
STATUS_EVERY_MS: Final = 3_000
PACE_EVERY_MS: Final = 30_000
_DAY_MS: Final = 86_400_000
_HOUR: Final = Period(PeriodUnit.HOUR)
_LATE_MS: Final = _DAY_MS  # a crossing of a period that is over is still told within this
_WEEKS_BACK: Final = 12
_TRIES_TOLD: Final = 2
_TOLD_KNOWN: Final = 1000  # alerts that happened are remembered for the incident that they are about
_SEEN_AGAIN_MS: Final = 5_000  # a key that vanished with less life left than this was not taken away, it ran out


@dataclass(slots=True)
class _Seen:
    """A proxy as it was last seen: what it told, and how long that would still live then."""

    info: proxies.ProxyInfo
    at_ms: int
    left_ms: int


class Watcher:
    """`await load()`, then `await step(now_ms)` every second."""

    def __init__(
        self,
        context: Context,
        new_id: Callable[[], str] = lambda: secrets.token_hex(5),
        responder: Responder | None = None,
    ) -> None:
        self._context = context
        self._new_id = new_id
        self._gatherer = Gatherer(context.client, context.keys, writes=True)
        self._outbox = Outbox(context.client, context.keys)
        self._watching = Watching(context.client, context.keys)
        self._samples: list[PaceSample] = []
        self._past: list[anomalies.Hour] = []
        self._past_hour = ""
        self._hour_began: dict[str, int] = {}
        self._usual: dict[str, bool] = {}  # who spent something in this hour: within the band?
        self._proxies: dict[str, _Seen] = {}
        self._told: dict[str, tuple[str, Severity]] = {}  # key of an alert -> its id and severity
        self._responder = responder or Responder(context)
        self._store_check = StoreCheck(context.client)
        self._refreshed_ms = self._sampled_ms = 0
        self.statuses: dict[str, BudgetStatus] = {}

    async def load(self) -> None:
        """What earlier leaders wrote down."""
        self._samples = await self._watching.samples()

    async def step(self, now_ms: int) -> None:
        if now_ms - self._refreshed_ms >= STATUS_EVERY_MS or now_ms < self._refreshed_ms:
            self._refreshed_ms = now_ms
            await self._look(now_ms)
        await self._thresholds(now_ms)

    # --- thresholds: what happened

    async def _thresholds(self, now_ms: int) -> None:
        rules, client = self._context.rules, self._context.client
        _, positions = await self._outbox.standing()
        after = positions.get("thresholds")
        chunk = await client.ask("XRANGE", self._context.keys.thresholds, f"({after}" if after else "-", "+")
        for entry, fields in chunk:
            budget = next((one for one in rules.budgets if one.name == fields["budget"]), None)
            age_ms = now_ms - _instant_ms(fields["at"])
            if budget is None or (
                fields["period"] != window_at(budget.period, budget.timezone, now_ms).label and age_ms > _LATE_MS
            ):
                await self._outbox.remember("thresholds", entry)
                continue
            await self._refresh([budget], now_ms)
            alert = telling.crossed(budget, self.statuses[budget.name], fields)
            await self._raise(alert, now_ms, position=("thresholds", entry))

    # --- everything else: what holds

    async def _look(self, now_ms: int) -> None:
        rules = self._context.rules
        day = await self._refresh(rules.budgets, now_ms)
        today = local_day(now_ms, rules.timezone)
        budgets = {name: (status.period, status.spent_atoms) for name, status in self.statuses.items()}
        now = pace.sample(now_ms, day, budgets)
        holding: list[Alert] = []
        staying: set[str] = set()
        fires: list[Fire] = []
        for budget in rules.budgets:
            status = self.statuses[budget.name]
            overrun = telling.forecast_overrun(budget, status)
            if overrun is not None:
                holding.append(overrun)
            elif telling.overrun_stays(status):
                staying.add(telling.forecast_key(status))
            samples = pace.budget_samples(self._samples, budget.name)
            spent, limit = status.spent_atoms, status.limit_atoms
            burn = burning(samples, spent, limit, _window(status), now_ms, rules.watch.burn)
            if burn is not None:
                alert = telling.burning_fast(budget, status, burn, now_ms)
                holding.append(alert)
                fires.append(Fire(status, burn, budget.timezone, alert.key))
        holding += telling.counting_trouble(today, calls_by_api(day), day.notes)
        unusual = await self._unusual(rules, today, now.spent, now_ms)
        holding += [alert for alert, _ in unusual]
        holding += await self._circuits(rules, staying)
        holding += await self._services(rules, now_ms)
        holding += await self._silent(now_ms, staying)
        await self._tell(holding, lambda key: key.startswith("incident:") or key in staying, now_ms)
        store = replace(
            await self._store_check.look(now_ms),
            refused=pace.refusals(self._samples, now),
            away=self._context.away(now_ms),
            waiting=sum(seen.info.pending_settlements for seen in self._proxies.values()),
        )
        tells = await self._responder.step(
            Measures(
                fires,
                [one for _, one in unusual],
                pace.paces(
                    rules, self.statuses, self._samples, now, lambda who: self._usual.get(f"caller|{who}", False)
                ),
                pace.failures(self._samples, now),
                store,
            ),
            self._told,
            now_ms,
        )
        await self._tell(
            tells.alerts, lambda key: not key.startswith("incident:") or key.startswith(tells.staying), now_ms
        )
        if now_ms - self._sampled_ms >= PACE_EVERY_MS or now_ms < self._sampled_ms:
            self._sampled_ms = now_ms
            await self._watching.sample(now)
            self._samples = [one for one in self._samples if one.at_ms > now_ms - 7 * 3_600_000] + [now]

    async def _refresh(self, budgets: Sequence[Budget], now_ms: int) -> Day:
        """Compute and publish the statuses of these budgets; today's roll-up, which was read for it."""
        rules = self._context.rules
        found, today = await self._gatherer.statuses(rules, budgets, now_ms)
        self.statuses |= found
        hour = window_at(_HOUR, rules.timezone, now_ms).label
        for budget in budgets:
            told = document(found[budget.name], budget.timezone)
            await self._watching.publish(budget.name, told, now_ms)
            await self._watching.snapshot(budget.name, told, hour)
        return today

    # --- anomalies

    async def _unusual(
        self, rules: RuleSet, today: str, spent: Mapping[str, int], now_ms: int
    ) -> list[tuple[Alert, Unusual]]:
        """Who spends far more in this hour than usual; writes the hour down."""
        window = window_at(_HOUR, rules.timezone, now_ms)
        hour, weekday = int(window.label[11:13]), date.fromisoformat(today).weekday()
        if window.label != self._past_hour:
            self._hour_began = self._spent_before(window, today, spent)
            self._past = await self._usual_hours(today, hour)
            self._past_hour = window.label
        so_far = {who: atoms - self._hour_began.get(who, 0) for who, atoms in spent.items()}
        await self._watching.write_hour(today, hour, so_far)
        found: list[tuple[Alert, Unusual]] = []
        self._usual = {}
        far = rules.watch.anomalies
        if far is None:
            return found
        for who, atoms in so_far.items():
            if atoms <= 0:
                continue
            usual = anomalies.band(self._past, who, weekday, hour, far)
            if usual is None:
                continue
            odd = anomalies.unusual(usual, atoms, _floor(rules, who, self.statuses, far.floor_bp))
            self._usual[who] = not odd
            if odd:
                began = iso(window.start_ms, rules.timezone)
                alert = telling.out_of_band(who, atoms, usual, rules.currency, began)
                found.append((alert, Unusual(who, atoms, usual, rules.currency, began, alert.key)))
        return found

    def _spent_before(self, hour: Window, today: str, spent: Mapping[str, int]) -> dict[str, int]:
        """What had been spent of the day when the hour began, by the last sample before.

        Where nobody had looked by then, what is spent now: only what is seen counts.
        """
        if local_day(hour.start_ms - 1, self._context.rules.timezone) != today:
            return {}
        before = [one for one in self._samples if one.day == today and one.at_ms <= hour.start_ms + PACE_EVERY_MS]
        return dict(before[-1].spent if before else spent)

    async def _usual_hours(self, today: str, hour: int) -> list[anomalies.Hour]:
        first = date.fromisoformat(today)
        wanted = [(first - timedelta(days=back)).isoformat() for back in range(1, 7 * _WEEKS_BACK + 1)]
        found = await self._watching.hours(wanted)
        return [
            anomalies.Hour(date.fromisoformat(day).weekday(), hour, hours[hour])
            for day, hours in found.items()
            if hour in hours
        ]

    # --- circuits

    async def _circuits(self, rules: RuleSet, staying: set[str]) -> list[Alert]:
        """Open ones; a half-open one is not over yet. Any API may be opened by hand, whatever the rules say."""
        names = [api.name for api in rules.apis]
        names += [rule.id for api in rules.apis for rule in api.rules if rule.breaker is not None]
        keys = self._context.keys
        replies = await self._context.client.ask_all(
            [("HMGET", keys.breaker(name), "state", "until") for name in names]
        )
        found = []
        for name, (state, until) in zip(names, replies, strict=True):
            alert = telling.circuit_open(name, when(int(until), rules.timezone) if until else "")
            if state == "open":
                found.append(alert)
            elif state == "half_open":
                staying.add(alert.key)
        return found

    # --- services

    async def _services(self, rules: RuleSet, now_ms: int) -> list[Alert]:
        """Those that could not be stopped or started, from the second failure on: the first may be a hiccup."""
        if not rules.services:
            return []
        states, _ = await services.read(self._context.client, self._context.keys, now_ms)
        return [
            telling.service_failed(one.name, "running" if state.get("runs") is False else "stopped", state["error"])
            for one in rules.services
            if (state := states.get(one.name)) is not None and state.get("tries", 0) >= _TRIES_TOLD
        ]

    # --- proxies

    async def _silent(self, now_ms: int, staying: set[str]) -> list[Alert]:
        """Proxies whose sign of life ran out. One that stops properly takes its own away."""
        client, keys = self._context.client, self._context.keys
        running = await proxies.running(client, keys)
        names = [keys.proxy(info.host, info.pid) for info in running]
        lives = await client.ask_all([("PTTL", name) for name in names])
        alive = {name: _Seen(info, now_ms, int(left)) for name, info, left in zip(names, running, lives, strict=True)}
        timezone = self._context.rules.timezone
        gone: list[Alert] = []
        for name, seen in self._proxies.items():
            if name in alive or seen.left_ms - (now_ms - seen.at_ms) > _SEEN_AGAIN_MS:
                continue
            alert = telling.proxy_silent(seen.info.host, seen.info.pid, seen.info.listen, iso(seen.at_ms, timezone))
            gone.append(alert)
        self._proxies = alive
        places = {(info.host, info.listen) for info in running}
        for key in (await self._outbox.standing())[0]:
            if key.startswith("proxy:") and not await self._replaced(key, places):
                staying.add(key)
        return gone

    async def _replaced(self, key: str, places: set[tuple[str, str]]) -> bool:
        """Whether a proxy listens again where the silent one of this alert did."""
        open_, _ = await self._outbox.standing()
        record = (await self._outbox.find([open_[key]])).get(open_[key])
        return record is None or (record.facts["host"], record.facts["listen"]) in places

    # --- telling

    async def _tell(self, holding: Sequence[Alert], stays: Callable[[str], bool], now_ms: int) -> None:
        open_, _ = await self._outbox.standing()
        unknown = {key: one for key, one in open_.items() if key not in self._told}
        if unknown:  # told by a leader before this one
            records = await self._outbox.find(list(unknown.values()))
            self._told |= {record.key: (record.id, record.severity) for record in records.values()}
        changes = telling.changes(open_, holding, stays)
        for alert in changes.raised:
            await self._raise(alert, now_ms)
        for key in changes.resolved:
            await self._resolve(key, open_[key], now_ms)
            self._told.pop(key, None)

    async def _raise(self, alert: Alert, now_ms: int, position: tuple[str, str] | None = None) -> None:
        rules, alert_id = self._context.rules, self._new_id()
        deliveries = [
            (channel.name, telling.due_ms(channel, alert.severity, rules.timezone, now_ms))
            for channel in rules.channels
            if telling.takes(channel, alert.kind, alert.severity, alert.budget)
        ]
        raised = await self._outbox.raise_alert(
            alert,
            alert_id,
            deliveries,
            now_ms,
            rules.timezone,
            resolvable=alert.kind not in telling.HAPPENS,
            fence=self._context.fence,
            position=position,
        )
        if raised:
            self._told[alert.key] = (alert_id, alert.severity)
            if len(self._told) > _TOLD_KNOWN:
                del self._told[next(iter(self._told))]
            log.info("alert.raised", alert=alert_id, about=alert.key, severity=alert.severity.value)

    async def _resolve(self, key: str, alert_id: str, now_ms: int) -> None:
        """Tell those who were told that it is over."""
        rules = self._context.rules
        record = (await self._outbox.find([alert_id])).get(alert_id)
        channels = [
            (channel.name, telling.due_ms(channel, record.severity, rules.timezone, now_ms))
            for channel in rules.channels
            if record is not None and telling.takes(channel, record.kind, record.severity, record.budget)
        ]
        if await self._outbox.resolve(key, alert_id, channels, now_ms, rules.timezone, self._context.fence):
            log.info("alert.resolved", alert=alert_id, about=key)


def _window(status: BudgetStatus) -> Window:
    return Window(status.period, status.starts_ms, status.resets_ms)


def _instant_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _floor(rules: RuleSet, who: str, statuses: Mapping[str, BudgetStatus], share_bp: int) -> int:
    """What an hour must have cost at least: a share of the largest limit that counts such calls."""
    sort, _, name = who.partition("|")
    limits = [
        statuses[budget.name].limit_atoms
        for budget in rules.budgets
        if budget.currency == rules.currency
        and (budget.api in (None, name) if sort == "api" else budget.caller in (None, name))
    ]
    return max(limits, default=0) * share_bp // 10_000


async def watch(context: Context) -> None:
    """The leader's job: until it leads no more."""
    watcher = Watcher(context)
    await watcher.load()
    while True:
        await watcher.step(context.now_ms())
        await asyncio.sleep(THRESHOLDS_EVERY_S)
