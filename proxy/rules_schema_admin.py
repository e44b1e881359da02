"""The grammar of `admin`: who may use the admin port, and what needs two people."""

from __future__ import annotations

from typing import Annotated

from proxy.rules_grammar import Model, key, must
from proxy.rules_values import EnvironmentName, Name, Percent, choice


class AdminToken(Model):
    """Somebody who may use the admin port, and what they may do there."""

    name: Name = must("Who it is: stands in the audit trail.")
    role: Annotated[str, choice("viewer", "operator", "admin")] = must(
        "viewer looks; operator also lifts, blocks and stops; admin also increases, bypasses and approves."
    )
    token_env: EnvironmentName = must("Environment variable that holds the token, of at least 16 characters.")


class AdminSpec(Model):
    """The admin port: without tokens it serves this machine only."""

    tokens: list[AdminToken] = key("Who may use it. As soon as there is one, every request must bring a token.")
    second_approver: Percent = key(
        "An increase of at least this percent of a budget's limit waits until a second person approves it."
    )
