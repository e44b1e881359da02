"""Compiles `services`: references, exactly one actuator each, and no circle of dependencies."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from proxy.core.rules_checks import Path, Plain, Problem, unknown
from proxy.core.services_model import Actuator, Apis, Command, Docker, Http, Kubernetes, Service, Systemd

KINDS = ("apis", "http", "command", "docker", "systemd", "kubernetes")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)


def compile_services(
    document: Plain,
    variable: Callable[[Path, str], str | None],
    budgets: tuple[str, ...],
    problems: list[Problem],
) -> tuple[Service, ...]:
    """variable: the value of an environment variable, or None with its problem noted. budgets: all names there are."""
    entries = document["services"] or ()
    names = [entry["name"] for entry in entries]
    apis = [api["name"] for api in document["apis"] or ()]
    out: list[Service] = []
    for index, entry in enumerate(entries):
        at: Path = ("services", index)
        name = entry["name"]
        if name in names[:index]:
            problems.append(Problem((*at, "name"), "twice_service", {"got": name}, "give_other_name"))
        for number, other in enumerate(entry["depends_on"] or ()):
            if other not in names:
                problems.append(unknown((*at, "depends_on", number), "unknown_service", other, names))
        for number, budget in enumerate(entry["budget"] or ()):
            if budget not in budgets:
                problems.append(unknown((*at, "budget", number), "unknown_budget", budget, budgets))
        for number, api in enumerate(entry["apis"] or ()):
            if api not in apis:
                problems.append(unknown((*at, "apis", number), "unknown_api", api, apis))
        actuator = _actuator(at, entry, variable, problems)
        if actuator is not None:
            out.append(
                Service(
                    name=name,
                    priority=entry["priority"],
                    depends_on=tuple(entry["depends_on"] or ()),
                    budgets=tuple(entry["budget"] or ()),
                    actuator=actuator,
                    timeout_s=entry["timeout"] or 30.0,
                    dry_run=bool(entry["dry_run"]),
                )
            )
    circle = find_circle({entry["name"]: tuple(entry["depends_on"] or ()) for entry in entries})
    if circle:
        place = ("services", names.index(circle[0]), "depends_on")
        problems.append(Problem(place, "service_circle", {"circle": " → ".join(circle)}, "break_circle"))
    return tuple(out)


def find_circle(depends: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Names along a circle of dependencies, the first one again at the end; () if there is none."""
    try:
        graphlib.TopologicalSorter(depends).prepare()
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1]
        return tuple(reversed(circle))  # graphlib lists what is needed first
    return ()


def _actuator(
    at: Path, entry: Plain, variable: Callable[[Path, str], str | None], problems: list[Problem]
) -> Actuator | None:
    given = [kind for kind in KINDS if entry[kind]]
    if len(given) != 1:
        key = "service_no_way" if not given else "service_two_ways"
        problems.append(Problem(at, key, {"known": ", ".join(KINDS)}, "one_way"))
        return None
    (kind,) = given
    spec = entry[kind]
    if kind == "apis":
        return Apis(tuple(spec))
    if kind == "http":
        return _http((*at, kind), spec, variable, problems)
    if kind == "command":
        return Command(tuple(spec["stop"]), tuple(spec["start"]), tuple(spec["status"]) if spec["status"] else None)
    if kind == "docker":
        return Docker(spec["container"], spec["socket"] or "/var/run/docker.sock")
    if kind == "systemd":
        return Systemd(spec["unit"], bool(spec["user"]))
    _check_url((*at, kind, "server"), spec["server"], problems)
    token = variable((*at, kind, "token_env"), spec["token_env"]) if spec["token_env"] else None
    return Kubernetes(
        server=spec["server"].rstrip("/"),
        namespace=spec["namespace"] or "default",
        kind=(spec["kind"] or "deployment") + "s",
        name=spec["name"],
        replicas=spec["replicas"] or 1,
        token=token,
        ca_file=spec["ca_file"],
    )


def _http(at: Path, spec: Plain, variable: Callable[[Path, str], str | None], problems: list[Problem]) -> Http:
    for word in ("stop", "start", "status"):
        if spec[word] is not None:
            _check_url((*at, word), spec[word], problems)
    headers = []
    for name, text in (spec["headers"] or {}).items():
        place: Path = (*at, "headers", name)

        def expand(found: re.Match[str], place: Path = place) -> str:
            return variable(place, found[1]) or ""

        headers.append((name, _REFERENCE.sub(expand, text)))
    return Http(spec["stop"], spec["start"], spec["status"], spec["method"] or "POST", tuple(headers))


def _check_url(at: Path, text: str, problems: list[Problem]) -> None:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good:
        problems.append(Problem(at, "bad_url", {"got": text[:60]}, "url_form"))
