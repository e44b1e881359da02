"""The grammar of rules.yaml's `alerts`: who is told what, where and when."""

from __future__ import annotations

from typing import Annotated

from proxy.core.alert_model import Kind, Severity
from proxy.rules_grammar import Model, key, must
from proxy.rules_terms import Clock, Day, Duration
from proxy.rules_values import EnvironmentName, Many, Name, Text, TrueOnly, choice

KINDS = tuple(kind.value for kind in Kind if kind is not Kind.TEST)


class QuietHours(Model):
    """Hours in which only critical alerts are delivered; the others come when they end."""

    start: Clock = must('Local time at which they begin, such as "22:00".', alias="from")
    end: Clock = must("Local time at which they end; earlier than `from` means the next day.", alias="to")
    days: Annotated[list[Day], Many()] = key("The days on which they begin (default: every day).")


class AlertChannel(Model):
    """Somewhere that alerts go: one of `url_env`, `webhook` (or `webhook_env`) and `log`."""

    name: Name = must("Name of the channel, unique in the file.")
    url_env: EnvironmentName = key(
        "Environment variable with the channel's URL as apprise writes it: slack://..., discord://..., tgram://..., "
        "mailtos://... and 170 more."
    )
    webhook: Text = key("Address that each message is posted to as signed JSON: https://ops.example.com/hooks/money.")
    webhook_env: EnvironmentName = key("The same out of an environment variable, for an address that is a secret.")
    secret_env: EnvironmentName = key("Environment variable with the secret that signs a webhook's messages.")
    log: TrueOnly = key("The proxy's own log.")
    min_severity: Annotated[str, choice(*(severity.value for severity in Severity))] = key(
        "The least that is told: info, warning (default) or critical."
    )
    budgets: Annotated[list[Text], Many()] = key("Only alerts of these budgets, and those that concern no budget.")
    kinds: Annotated[list[Annotated[str, choice(*KINDS)]], Many()] = key("Only alerts of these kinds.")
    quiet_hours: QuietHours = key("Hours in which only critical alerts are delivered.")
    group: Duration = key('After a message, gather what is not critical for this long and tell it together: "5m".')
    language: Annotated[str, choice("en", "ko")] = key("Language of the messages; without it that of the file.")
