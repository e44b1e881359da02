"""How a service is stopped, started and looked at, one way a kind: all I/O of services but their switches.

Each returns when it is done and raises ActuatorError, whose text is one line for people and holds no secret. Time-outs
are the caller's. Programs run without a shell, with nothing on standard input, and are killed when time is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from proxy.core.services_model import Actuator, Apis, Command, Docker, Http, Kubernetes, Systemd

_GONE: Final = frozenset({404, 410, 503})
_TOLD: Final = 200  # characters of an answer or of standard error


class ActuatorError(Exception):
    """It did not work; `str()` says what."""


async def act(actuator: Actuator, *, start: bool) -> None:
    """Stop or start it. `apis` is not done here: its switches are written with their audit entries."""
    match actuator:
        case Http():
            await _request(actuator.method, actuator.start if start else actuator.stop, dict(actuator.headers))
        case Command():
            await _run(actuator.start if start else actuator.stop)
        case Systemd():
            await _run(_systemctl(actuator, "start" if start else "stop"))
        case Docker():
            await _docker(actuator, "POST", "start" if start else "stop", good=(204, 304))
        case Kubernetes():
            await _scale(actuator, actuator.replicas if start else 0)
        case Apis():
            raise ActuatorError("apis are stopped by their switches")


async def probe(actuator: Actuator) -> bool | None:
    """Whether it runs; None where there is no way to know."""
    match actuator:
        case Http(status=str(url)):
            return await _answers(url, dict(actuator.headers))
        case Command(status=tuple() as argv):
            return await _exit_status(argv) == 0
        case Systemd():
            return await _exit_status(_systemctl(actuator, "is-active")) == 0
        case Docker():
            found = await _docker(actuator, "GET", "json", good=(200,))
            return bool(found.get("State", {}).get("Running"))
        case Kubernetes():
            found = await _kubernetes(actuator, "GET", None)
            return int(found.get("spec", {}).get("replicas") or 0) > 0
    return None


# --- programs -----------------------------------------------------------------------------------------------------


def _systemctl(unit: Systemd, verb: str) -> tuple[str, ...]:
    return ("systemctl", *(("--user",) if unit.user else ()), "--no-ask-password", verb, "--", unit.unit)


async def _run(argv: tuple[str, ...]) -> None:
    status, said = await _finish(argv)
    if status != 0:
        raise ActuatorError(f"{argv[0]} ended with {status}" + (f": {said}" if said else ""))


async def _exit_status(argv: tuple[str, ...]) -> int:
    return (await _finish(argv))[0]


async def _finish(argv: tuple[str, ...]) -> tuple[int, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ActuatorError(f"{argv[0]}: {error.strerror or error}") from None
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, " ".join(said.decode("utf-8", "replace").split())[:_TOLD]


# --- HTTP -----------------------------------------------------------------------------------------------------------


def _session(**options: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), trust_env=False, **options)


async def _request(method: str, url: str, headers: Mapping[str, str]) -> None:
    shown = url.partition("?")[0]
    try:
        async with _session() as session, session.request(method, url, headers=headers) as answer:
            if not 200 <= answer.status < 300:
                raise ActuatorError(f"{shown} answered {answer.status}")
    except (aiohttp.ClientError, OSError) as error:
        raise ActuatorError(f"{shown}: {type(error).__name__}") from None


async def _answers(url: str, headers: Mapping[str, str]) -> bool:
    shown = url.partition("?")[0]
    try:
        async with _session() as session, session.get(url, headers=headers) as answer:
            if answer.status in _GONE:
                return False
            if 200 <= answer.status < 300:
                return True
            raise ActuatorError(f"{shown} answered {answer.status}")
    except (aiohttp.ClientError, OSError) as error:
        raise ActuatorError(f"{shown}: {type(error).__name__}") from None


async def _docker(container: Docker, method: str, verb: str, good: tuple[int, ...]) -> dict[str, Any]:
    """Docker's HTTP API over its socket; 304 means that it is so already (docs.docker.com/reference/api/engine)."""
    url = f"http://docker/containers/{quote(container.container, safe='')}/{verb}"
    try:
        async with (
            _session(connector=aiohttp.UnixConnector(container.socket)) as session,
            session.request(method, url) as answer,
        ):
            if answer.status not in good:
                said = (await answer.text())[:_TOLD]
                raise ActuatorError(f"docker answered {answer.status}: {said}")
            found: dict[str, Any] = await answer.json() if answer.status == 200 else {}
            return found
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ActuatorError(f"{container.socket}: {type(error).__name__}") from None


async def _scale(target: Kubernetes, replicas: int) -> None:
    await _kubernetes(target, "PATCH", {"spec": {"replicas": replicas}})


async def _kubernetes(target: Kubernetes, method: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """The `scale` subresource (kubernetes.io/docs/reference/generated/kubernetes-api)."""
    names = (quote(target.namespace, safe=""), target.kind, quote(target.name, safe=""))
    url = "{}/apis/apps/v1/namespaces/{}/{}/{}/scale".format(target.server, *names)
    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    if body is not None:
        headers["Content-Type"] = "application/merge-patch+json"
    try:
        trust: Any = ssl.create_default_context(cafile=target.ca_file) if target.ca_file else True
        async with _session() as session, session.request(method, url, json=body, headers=headers, ssl=trust) as answer:
            if answer.status != 200:
                raise ActuatorError(f"{target.server} answered {answer.status}")
            found: dict[str, Any] = await answer.json()
            return found
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ActuatorError(f"{target.server}: {type(error).__name__}") from None
