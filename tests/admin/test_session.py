"""How long somebody stays signed in, by the clock as an argument."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy import rules_file
from proxy.admin.dashboard.session import COOKIE, IDLE_S, LONGEST_S, Sessions
from proxy.admin.routes import Desk
from proxy.settings import load
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.past import Past
from proxy.state.store import Store
from tests.admin.test_frame import GUARDED, TOKENS
from tests.state.calls import Clock
from tests.state.conftest import a_server


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[tuple[Sessions, Clock]]:
    rules = rules_file.load_text(GUARDED, "rules.yaml", TOKENS).rules
    assert rules is not None
    clock = Clock()
    with a_server("valkey", tmp_path / "v") as server:
        async with Client(server.url) as client:
            made = Desk(load({}), Keys(), client, Past(client, Keys()), Store(server.url), lambda: rules, tuple,
                        lambda: None, lambda: 1, clock, "0")  # fmt: skip
            yield Sessions(made), clock


def by(cookie: str) -> web.Request:
    return make_mocked_request("GET", "/", headers={"Cookie": f"{COOKIE}={cookie}"})


async def test_a_session_ends_when_nobody_does_anything_and_after_a_working_day(
    desk: tuple[Sessions, Clock],
) -> None:
    sessions, clock = desk
    assert await sessions.sign_in("wrong", "127.0.0.1") is None
    cookie = await sessions.sign_in(TOKENS["TOKEN_ADMIN"], "127.0.0.1")
    assert cookie is not None
    clock.pass_s(IDLE_S - 1)
    visitor = await sessions.visitor(by(cookie))
    assert visitor is not None
    assert (visitor.name, visitor.role) == ("anna", "admin")
    clock.pass_s(IDLE_S - 1)
    assert await sessions.visitor(by(cookie), active=False), "a page that is open, and half an hour is not over"
    clock.pass_s(1)
    assert await sessions.visitor(by(cookie)) is None, "the open page was nobody's doing"

    cookie = await sessions.sign_in(TOKENS["TOKEN_ADMIN"], "127.0.0.1")
    assert cookie is not None
    for _ in range(LONGEST_S // IDLE_S):
        assert await sessions.visitor(by(cookie))
        clock.pass_s(IDLE_S - 1)
    assert await sessions.visitor(by(cookie))
    clock.pass_s(LONGEST_S // IDLE_S)
    assert await sessions.visitor(by(cookie)) is None, "twelve hours, however busy"
    assert await sessions.visitor(by("made up")) is None
