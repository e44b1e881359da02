"""Values about incidents that the rules, the leader, the admin port and the commands share.

An incident is one thing that goes wrong with the money, from when it is noticed until it has been over for long enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from proxy.core.alert_model import Severity


class Grade(StrEnum):
    """How bad an incident is."""

    LOW = "low"  # worth a look
    MEDIUM = "medium"  # costs money that nobody planned
    HIGH = "high"  # would take the budget within a day, or an API is of no use
    CRITICAL = "critical"  # would take it within the hour, or counting itself is in danger

    @property
    def rank(self) -> int:
        return _RANK[self]

    @property
    def severity(self) -> Severity:
        """Of alerts about such an incident."""
        return (Severity.INFO, Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL)[self.rank]


_RANK = {grade: rank for rank, grade in enumerate(Grade)}


class Sort(StrEnum):
    """What incidents are about."""

    BURN = "burn"  # a budget's money goes several times as fast as its limit bears
    ANOMALY = "anomaly"  # an API or caller spends far more in this hour than it usually does
    ERRORS = "errors"  # calls to an API fail far more often than usual
    RUNAWAY = "runaway"  # one caller takes most of a budget's money, many times too fast
    STORE = "store"  # Redis is away, slow, short of memory or cannot save


class Action(StrEnum):
    """What can be done about an incident. Each ends by itself."""

    BLOCK_CALLER = "block_caller"  # refuse the calls of the caller that it is about
    BLOCK_API = "block_api"  # refuse the calls of the API that it is about
    STOP_SERVICES = "stop_services"  # stop the optional services
    STOP_ALL = "stop_all"  # refuse everything that costs money


Table = Mapping[Grade, tuple[Action, ...]]

PROPOSED: Final[Table] = {
    Grade.MEDIUM: (Action.BLOCK_CALLER, Action.BLOCK_API),
    Grade.HIGH: (Action.STOP_SERVICES,),
    Grade.CRITICAL: (Action.STOP_ALL,),
}


def from_grade_on(table: Table, grade: Grade) -> tuple[Action, ...]:
    """What a table has for a grade: an action holds from its grade on."""
    found = {action for at, actions in table.items() if at.rank <= grade.rank for action in actions}
    return tuple(action for action in Action if action in found)


@dataclass(frozen=True, slots=True)
class Emergency:
    """rules.yaml's `emergency`, compiled. spare: "caller:web", "api:openai": never blocked without a person."""

    sorts: frozenset[Sort] = frozenset(Sort)
    proposed: Table = field(default_factory=lambda: PROPOSED)
    automatic: Table = field(default_factory=dict)
    lasts_ms: int = 3_600_000  # an action ends by itself after this
    calm_ms: int = 900_000  # an incident is over when its cause has been gone for this long
    spare: frozenset[str] = frozenset()


EMERGENCY_BY_DEFAULT: Final = Emergency()


@dataclass(frozen=True, slots=True)
class Taken:
    """Something that was done about an incident. target: "caller:batch", "service:gpu", "all". entry: of the trail."""

    action: Action
    target: str
    entry: int
    until_ms: int
    at: str  # ISO 8601
    by: str
    automatic: bool


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody wrote while dealing with it. what: "acknowledge" | "resolve"."""

    at: str
    by: str
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident as the history keeps it. Everything in `facts` is text; `resolved_at` "" = it is open.

    target: what it is about: "caller:batch", "api:openai", "budget:monthly", "store". alert, told: id and severity of
    the alert that had told its cause already, "" = nobody had. gone_ms, lower_ms: since when the cause is gone, or less
    grave than `grade` (Unix ms); 0 = it is not.
    """

    id: str
    cause: str
    sort: Sort
    target: str
    grade: Grade
    peak: Grade
    facts: Mapping[str, str]
    opened_at: str
    resolved_at: str = ""
    resolved_by: str = ""
    acknowledged_at: str = ""
    acknowledged_by: str = ""
    alert: str = ""
    told: str = ""
    gone_ms: int = 0
    lower_ms: int = 0
    actions: tuple[Taken, ...] = ()
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Quiet:
    """A person resolved an incident while its cause went on: it is no news up to this grade until then."""

    grade: Grade
    until_ms: int
