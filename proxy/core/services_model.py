"""Services that cost money as long as they run, as compiled from rules.yaml's `services`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Apis:
    """Stops the traffic of APIs, by their switches."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Http:
    """Calls a URL to stop and one to start; 2xx is done. status: GET; 2xx = it runs, 404, 410 and 503 = it does not."""

    stop: str
    start: str
    status: str | None
    method: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # may hold a secret


@dataclass(frozen=True, slots=True)
class Command:
    """Runs a program without a shell; exit status 0 is done. status: 0 = it runs."""

    stop: tuple[str, ...]
    start: tuple[str, ...]
    status: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Docker:
    """Stops and starts a container through Docker's HTTP API on its socket."""

    container: str
    socket: str


@dataclass(frozen=True, slots=True)
class Systemd:
    """systemctl stop, start, is-active."""

    unit: str
    user: bool


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """Scales a deployment or stateful set to nothing and back through the API server."""

    server: str
    namespace: str
    kind: str  # "deployments" | "statefulsets"
    name: str
    replicas: int  # when it runs
    token: str | None = field(repr=False)
    ca_file: str | None


Actuator = Apis | Http | Command | Docker | Systemd | Kubernetes


@dataclass(frozen=True, slots=True)
class Service:
    """priority: "essential" never stops, "important" stops at a budget's stop line, "optional" at its restrict line.

    depends_on: names of services that must run for this one. budgets: whose lines count; () = every budget that counts
    all calls. dry_run: what would be done is told and recorded, and not done.
    """

    name: str
    priority: str
    depends_on: tuple[str, ...]
    budgets: tuple[str, ...]
    actuator: Actuator
    timeout_s: float
    dry_run: bool


def kind_of(actuator: Actuator) -> str:
    """The word for it in rules.yaml."""
    return type(actuator).__name__.lower()


NO_SERVICES: tuple[Service, ...] = ()
