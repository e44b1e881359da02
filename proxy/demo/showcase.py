"""The dashboard at the end of the demonstration: a proxy with a month and a half behind it, and calls that go on.

Everything is made for the moment in a temporary folder: the history through the path of real calls, the calls that go
on by a small crowd of programs against the simulator. Ends with Ctrl-C and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import tempfile
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

from proxy.cli.frame import Frame
from proxy.cli.run import free_port, started
from proxy.demo import history
from proxy.demo.simulator import Simulator
from proxy.rules_file import load_file
from proxy.state import embedded
from proxy.state.keys import Keys
from proxy.state.store import Store

CALLERS: Final = ("web", "batch", "bot")
BETWEEN_S: Final = 1.6


async def show(frame: Frame, simulator: Simulator, tell: Callable[[str], None], *, browse: bool) -> None:
    """Make it, tell its address, and let calls go on until cancelled. simulator: with three ports."""
    keys = {f"DEMO_KEY_{name.upper()}": f"demo-{secrets.token_hex(12)}" for name in CALLERS}
    # A person's own Redis or settings must not come into the demonstration.
    own = {name: value for name, value in frame.environ.items() if not name.startswith(("SPENDGATE_", "REDIS_URL"))}
    alone = Frame(frame.lang, {**own, **keys})
    with tempfile.TemporaryDirectory(prefix="spendgate-demo-") as folder:
        rules = Path(folder) / "rules.yaml"
        chat, maps, sms = simulator.urls
        rules.write_text(history.RULES.format(language=frame.lang, chat=chat, map=maps, sms=sms), encoding="utf-8")
        data = Path(folder) / "data"
        store = await asyncio.to_thread(embedded.open, data)
        try:
            await _remember(store.url, rules, keys)
            listen = f"127.0.0.1:{free_port('127.0.0.1')}"
            settings = alone.settings(rules=str(rules), listen=listen, data=str(data))
            serving = started(alone, settings, listen)
            proxy = await asyncio.to_thread(serving.__enter__)
            try:
                tell(proxy.admin_url)
                if browse:
                    with contextlib.suppress(webbrowser.Error):
                        await asyncio.to_thread(webbrowser.open, proxy.admin_url)
                await _go_on(f"http://{listen}", keys)
            finally:
                await asyncio.to_thread(serving.__exit__, None, None, None)
        finally:
            await asyncio.to_thread(store.close)


async def _remember(url: str, rules: Path, keys: dict[str, str]) -> None:
    """Write the history."""
    loaded = load_file(rules, keys)
    if loaded.rules is None:
        raise ValueError("; ".join(mistake.render("en") for mistake in loaded.mistakes))
    store = Store(url, client_name="spendgate-demo")
    await store.start()
    try:
        now_ms = time.time_ns() // 1_000_000
        past = list(history.calls(now_ms - 60_000, loaded.rules.timezone))
        await history.write(store, Keys(), loaded.rules, past)
    finally:
        await store.close()


async def _go_on(root: str, keys: dict[str, str]) -> None:
    """Programs at work: a call every second or two, until cancelled."""
    chance = random.Random(7)
    async with aiohttp.ClientSession() as http:
        while True:
            method, path, body = chance.choice(_WORK)
            caller = chance.choice(CALLERS)
            headers = {"Authorization": f"Bearer {keys[f'DEMO_KEY_{caller.upper()}']}"}
            with contextlib.suppress(aiohttp.ClientError):
                async with http.request(method, f"{root}{path}", json=body, headers=headers) as answer:
                    await answer.read()
            await asyncio.sleep(BETWEEN_S * chance.uniform(0.5, 1.5))


_CHAT: Final[dict[str, Any]] = {
    "model": "gpt-5-mini",
    "max_completion_tokens": 400,
    "messages": [{"role": "user", "content": "Please sum up this week's orders in two sentences."}],
}
_WORK: Final[tuple[tuple[str, str, dict[str, Any] | None], ...]] = (
    ("POST", "/openai/v1/chat/completions", _CHAT),
    ("POST", "/openai/v1/chat/completions", _CHAT),
    ("GET", "/kakao-map/v2/local/search/keyword.json?query=cafe", None),
    ("POST", "/sms/messages", {"to": ["+821000000000"], "text": "Your order is on its way."}),
    ("GET", "/openai/v1/models", None),
)
