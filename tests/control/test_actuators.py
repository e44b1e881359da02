"""Real programs, a real HTTP server and a small server on a Unix socket that speaks as Docker does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from proxy.control.actuators import ActuatorError, act, probe
from proxy.core.services_model import Command, Docker, Http, Kubernetes, Systemd


class World:
    """What the servers were asked, and how many replicas there are."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.running = True
        self.replicas = 3
        self.status = 200
        self.url = ""
        self.socket = ""

    async def http(self, request: web.Request) -> web.Response:
        if request.path == "/gone":
            assert request.transport is not None
            request.transport.abort()
        self.asked.append(f"{request.method} {request.path} {request.headers.get('X-Key', '')}".strip())
        return web.Response(status=self.status)

    async def docker(self, request: web.Request) -> web.Response:
        name, verb = request.match_info["name"], request.match_info["verb"]
        self.asked.append(f"{request.method} {name} {verb}")
        if name != "worker":
            return web.json_response({"message": "No such container: " + name}, status=404)
        if verb == "json":
            return web.json_response({"State": {"Running": self.running}})
        same = self.running == (verb == "start")
        self.running = verb == "start"
        return web.Response(status=304 if same else 204)

    async def scale(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer t0ken":
            return web.Response(status=401)
        if request.method == "PATCH":
            assert request.content_type == "application/merge-patch+json"
            self.replicas = (await request.json())["spec"]["replicas"]
        return web.json_response({"spec": {"replicas": self.replicas}})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    app = web.Application()
    app.router.add_route("*", "/containers/{name}/{verb}", made.docker)
    app.router.add_route("*", "/apis/apps/v1/namespaces/prod/deployments/api/scale", made.scale)
    app.router.add_route("*", "/{rest:.*}", made.http)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    made.socket = str(tmp_path / "d.sock")
    await web.UnixSite(runner, made.socket).start()
    yield made
    await runner.cleanup()


async def test_http_calls_its_urls_and_says_what_was_answered(world: World) -> None:
    one = Http(f"{world.url}/off", f"{world.url}/on", f"{world.url}/up", "PUT", (("X-Key", "k"),))
    await act(one, start=False)
    await act(one, start=True)
    assert world.asked == ["PUT /off k", "PUT /on k"]
    assert await probe(one) is True
    world.status = 503
    assert await probe(one) is False
    with pytest.raises(ActuatorError, match="/off answered 503"):
        await act(one, start=False)
    with pytest.raises(ActuatorError, match="ClientConnectorError"):
        await act(Http("http://127.0.0.1:9/x?token=s3cret", "", None, "POST", ()), start=False)
    assert await probe(Http("", "", None, "POST", ())) is None
    with pytest.raises(ActuatorError, match="/gone: ServerDisconnectedError"):
        await probe(Http("", "", f"{world.url}/gone?key=s3cret", "POST", ()))


async def test_a_command_runs_without_a_shell_and_is_killed_when_time_is_up(tmp_path: Path) -> None:
    mark = tmp_path / "a file; touch never"
    one = Command(("touch", str(mark)), ("rm", str(mark)), ("test", "!", "-e", str(mark)))
    assert await probe(one) is True
    await act(one, start=False)
    assert [path.name for path in tmp_path.iterdir()] == [mark.name]  # noqa: ASYNC240 - a test
    assert await probe(one) is False
    await act(one, start=True)
    with pytest.raises(ActuatorError, match="rm ended with 1: rm: cannot remove"):
        await act(one, start=True)
    with pytest.raises(ActuatorError, match="no-such-program: No such file"):
        await act(Command(("no-such-program",), ("x",), None), start=False)
    pid = tmp_path / "pid"
    slow = Command(("sh", "-c", f"echo $$ > {pid}; exec sleep 60"), ("true",), None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await act(slow, start=False)
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()  # noqa: ASYNC240 - a test


async def test_docker_stops_and_starts_a_container_and_so_already_is_done_too(world: World) -> None:
    one = Docker("worker", world.socket)
    await act(one, start=False)
    assert await probe(one) is False
    await act(one, start=False)
    await act(one, start=True)
    assert await probe(one) is True
    assert world.asked[0] == "POST worker stop"
    with pytest.raises(ActuatorError, match=r"docker answered 404: .*No such container: gone"):
        await act(Docker("gone", world.socket), start=False)
    with pytest.raises(ActuatorError, match=r"nowhere\.sock"):
        await act(Docker("worker", "/tmp/nowhere.sock"), start=False)


async def test_kubernetes_scales_to_nothing_and_back(world: World) -> None:
    one = Kubernetes(world.url, "prod", "deployments", "api", 3, "t0ken", None)
    await act(one, start=False)
    assert world.replicas == 0
    assert await probe(one) is False
    await act(one, start=True)
    assert world.replicas == 3
    with pytest.raises(ActuatorError, match="answered 401"):
        await act(Kubernetes(world.url, "prod", "deployments", "api", 3, "other", None), start=False)


async def test_systemd_is_asked_by_argv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {said}\n[ "$2" != is-active ]\n')
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    one = Systemd("worker.service", user=False)
    await act(one, start=False)
    await act(Systemd("-x", user=True), start=True)
    assert await probe(one) is False
    assert said.read_text().splitlines() == [
        "--no-ask-password stop -- worker.service",
        "--user --no-ask-password start -- -x",
        "--no-ask-password is-active -- worker.service",
    ]
