"""Compile rules.yaml's `alerts` into channels, and say what is wrong with them.

Secrets come out of the environment; none of them goes into a Problem. Knows nothing of how a message is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.core.alert_model import LOG_CHANNEL, Channel, Kind, QuietHours, Severity
from proxy.core.rules_checks import Path, Plain, Problem, unknown

Variable = Callable[[Path, str], str | None]  # the value of an environment variable; tells a missing one itself

EVERY_DAY = frozenset(range(7))
MAX_CHANNELS = 50


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a channel may be reached by, as given: exactly one is allowed."""

    keys: tuple[str, ...] = ("url_env", "webhook", "webhook_env", "log")

    def given(self, channel: Plain) -> list[str]:
        return [key for key in self.keys if channel[key] is not None]


def compile_channels(
    document: Plain, budgets: Iterable[str], language: str, variable: Variable, tell: Callable[[Problem], None]
) -> tuple[Channel, ...]:
    """The channels in the order of the file; the log when there are none. Problems go to `tell`."""
    if not document["alerts"]:
        return (LOG_CHANNEL,)
    known = sorted(budgets)
    found: list[Channel] = []
    for index, channel in enumerate(document["alerts"]):
        at: Path = ("alerts", index)
        given = Addresses().given(channel)
        if len(given) != 1:
            tell(Problem(at, "channel_two_ways" if given else "channel_no_way", hint="channel_ways"))
            continue
        for number, name in enumerate(channel["budgets"] or ()):
            if name not in known:
                tell(unknown((*at, "budgets", number), "unknown_budget", name, known))
        made = _channel(at, channel, given[0], language, variable, tell)
        if made is not None:
            found.append(made)
    return tuple(found)


def _channel(
    at: Path, channel: Plain, way: str, language: str, variable: Variable, tell: Callable[[Problem], None]
) -> Channel | None:
    address: dict[str, str | None] = {"target": None, "webhook": None, "secret": None}
    signed = way in ("webhook", "webhook_env")
    if channel["secret_env"] is not None and not signed:
        tell(Problem((*at, "secret_env"), "secret_without_webhook", hint="remove_key"))
    if signed and channel["secret_env"] is None:
        tell(Problem((*at, way), "webhook_unsigned", hint="give_secret"))
    if channel["secret_env"] is not None:
        address["secret"] = variable((*at, "secret_env"), channel["secret_env"])
    if way == "url_env":
        address["target"] = variable((*at, "url_env"), channel["url_env"])
        if address["target"] is not None and not _is_target(address["target"]):
            tell(Problem((*at, "url_env"), "bad_channel_url", {"got": channel["url_env"]}, "channel_url_form"))
    elif signed:
        text = channel["webhook"]
        address["webhook"] = text if way == "webhook" else variable((*at, way), channel["webhook_env"])
        if address["webhook"] is not None and not _is_web_address(address["webhook"]):
            tell(Problem((*at, way), "bad_webhook", hint="webhook_form"))  # not repeated: it may hold a secret
    if way != "log" and not any(address[name] for name in ("target", "webhook")):
        return None
    kinds = channel["kinds"]
    return Channel(
        name=channel["name"],
        min_severity=Severity(channel["min_severity"] or "warning"),
        target=address["target"],
        webhook=address["webhook"],
        secret=address["secret"],
        log=way == "log",
        budgets=frozenset(channel["budgets"]) if channel["budgets"] else None,
        kinds=frozenset(map(Kind, kinds)) if kinds else None,
        quiet=_quiet(at, channel["quiet_hours"], tell),
        group_s=channel["group"] or 0.0,
        language=channel["language"] or language,
    )


def _quiet(at: Path, terms: Mapping[str, object] | None, tell: Callable[[Problem], None]) -> QuietHours | None:
    if terms is None:
        return None
    start, end, days = terms["from"], terms["to"], terms["days"]
    if start == end:
        tell(Problem((*at, "quiet_hours"), "quiet_always", hint="quiet_form"))
        return None
    chosen = frozenset().union(*days) if isinstance(days, list) and days else EVERY_DAY
    return QuietHours(chosen, int(str(start)), int(str(end)))


def _is_target(text: str) -> bool:
    """The shape of an apprise URL; whether the service exists is found when it is first used."""
    scheme, mark, rest = text.partition("://")
    return bool(mark and rest) and scheme.isascii() and scheme.replace("+", "").replace("-", "").isalnum()


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
