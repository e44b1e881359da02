"""Who am I, what runs here, who leads, and which rules hold."""

from __future__ import annotations

from pydantic import Field

from proxy.admin.routes import Answer, Call, Route
from proxy.core.admin_model import Role
from proxy.core.windows import iso
from proxy.state import leader


class Me(Answer):
    """The asker."""

    name: str = Field(description='Name of the token; "local" where there are none.')
    role: Role
    language: str


class LeaderFacts(Answer):
    place: str = Field(description="host:pid of the control process that does the periodic work.")
    fence: int = Field(description="Its fencing token: grows with every change of leader.")
    since: str
    until: str


class System(Answer):
    """This proxy's control plane."""

    version: str
    now: str
    timezone: str
    currency: str
    language: str
    tokens_required: bool = Field(description="False: rules.yaml names no admin tokens, and only loopback is served.")
    leads: bool = Field(description="Whether the process that answers is the leader.")
    leader: LeaderFacts | None


class RulesMistake(Answer):
    line: int
    column: int
    path: str
    message: str
    hint: str | None


class Rules(Answer):
    """The rules that hold, and what is wrong with the file if its last version was refused."""

    file: str
    digest: str | None
    loaded_at: str | None
    mistakes: list[RulesMistake]


async def me(call: Call) -> Me:
    return Me(name=call.person.name, role=call.person.role, language=call.language)


async def system(call: Call) -> System:
    rules = call.rules
    found = await leader.current(call.client, call.desk.keys)
    facts = None
    if found is not None:
        facts = LeaderFacts(
            place=found.place,
            fence=found.fence,
            since=iso(found.since_ms, rules.timezone),
            until=iso(found.until_ms, rules.timezone),
        )
    return System(
        version=call.desk.version,
        now=iso(call.now_ms(), rules.timezone),
        timezone=rules.timezone,
        currency=rules.currency,
        language=rules.language,
        tokens_required=bool(rules.admin.tokens),
        leads=call.desk.fence() is not None,
        leader=facts,
    )


async def rules(call: Call) -> Rules:
    held = call.desk.rules()
    loaded = call.desk.loaded_at()
    told = [mistake.in_language(call.language) for mistake in call.desk.mistakes()]
    return Rules(
        file=str(call.desk.settings.rules.resolve()),
        digest=held.digest if held is not None else None,
        loaded_at=loaded.isoformat(timespec="milliseconds") if loaded is not None else None,
        mistakes=[
            RulesMistake(line=one.line, column=one.column, path=one.path, message=one.message, hint=one.hint)
            for one in told
        ],
    )


ROUTES = [
    Route("GET", "/me", Role.VIEWER, "Who the token belongs to", me, answers=Me, tag="system"),
    Route("GET", "/system", Role.VIEWER, "The control plane and its leader", system, answers=System, tag="system"),
    Route("GET", "/rules", Role.VIEWER, "The rules that hold, and their mistakes", rules, answers=Rules),
]
