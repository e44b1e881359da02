"""The grammar of `emergency`: what counts as an incident, and what is proposed or done about it."""

from __future__ import annotations

from typing import Annotated

from proxy.core.emergency_model import Action, Sort
from proxy.rules_grammar import Model, key
from proxy.rules_terms import Duration
from proxy.rules_values import Many, Text, choice

Actions = Annotated[list[Annotated[str, choice(*(action.value for action in Action))]], Many()]


class ByGrade(Model):
    """Actions by how bad an incident is. Each holds from its level on: what `high` has, `critical` has too."""

    low: Actions = key("From the lowest level on.")
    medium: Actions = key("From `medium` on: costs money that nobody planned.")
    high: Actions = key("From `high` on: would take the budget within a day, or an API is of no use.")
    critical: Actions = key("Only at `critical`: would take the budget within the hour, or counting is in danger.")


class EmergencySpec(Model):
    """Incidents: what is looked for, what is proposed, and what is done without asking."""

    detect: Annotated[list[Annotated[str, choice(*(sort.value for sort in Sort))]], Many()] = key(
        "What is looked for (default: all of it): burn, anomaly, errors, runaway, store."
    )
    proposed: ByGrade = key(
        "What is proposed for one confirmed click or command, instead of the default: block_caller and block_api from "
        "medium on, stop_services from high on, stop_all at critical."
    )
    automatic: ByGrade = key(
        "What is done at once and without asking (default: nothing): block_caller, block_api, stop_services, stop_all."
    )
    lasts: Duration = key("An action ends by itself after this: 1m to 24h (default 1h).")
    resolve_after: Duration = key("An incident is over when its cause has been gone for this long (default 15m).")
    spare: Annotated[list[Text], Many()] = key(
        "Callers and APIs that are never blocked without a person: caller:web, api:openai."
    )
