"""Expected amounts, worked out on their own, and small helpers that wait for conditions."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Generic, TypeVar

import httpx

from tests.harness import RunningProxy

RATE = Decimal(1390)
MILLION = Decimal(1_000_000)

# US dollars per million tokens: (input, output). These are the providers' public list prices.
PRICES = {
    "gpt-4o-mini": (Decimal("0.15"), Decimal("0.6")),
    "gpt-4o": (Decimal("2.5"), Decimal(10)),
    "claude-sonnet-4-6": (Decimal(3), Decimal(15)),
}

T = TypeVar("T")


def usd(model: str, input_tokens: int, output_tokens: int) -> Decimal:
    """Exact dollars of a call, from the list price."""
    price_in, price_out = PRICES[model]
    return (price_in * input_tokens + price_out * output_tokens) / MILLION


def krw(dollars: Decimal) -> Decimal:
    """Won as the ledger counts them: millionths, half up."""
    return (dollars * RATE).quantize(Decimal("0.000001"), ROUND_HALF_UP)


def eventually(condition: Callable[[], T], what: str, seconds: float = 10.0) -> T:
    """The first true value of `condition`; asks again until the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        pause.wait(0.02)


def entry(proxy: RunningProxy, request_id: str) -> dict[str, Any]:
    """The one ledger entry of this id."""
    found = proxy.ledger("--id", request_id)
    assert len(found) == 1, f"{len(found)} entries for {request_id}\n{proxy.logs()[-3000:]}"
    assert found[0]["id"] == request_id
    return found[0]


def settled_entry(proxy: RunningProxy, request_id: str) -> dict[str, Any]:
    """The same, for a call whose end nobody waited for."""
    return eventually(lambda: next(iter(proxy.ledger("--id", request_id)), None), f"the ledger entry of {request_id}")


def request_id_of(answer: Any) -> str:
    found = answer.headers.get("X-Spendgate-Request-Id")
    assert found, f"no request id on {answer}"
    return str(found)


def terms_sum(row: dict[str, Any]) -> Decimal:
    return sum((Decimal(term["amount"]) for term in row["terms"]), Decimal(0))


def log_events(proxy: RunningProxy, event: str, **fields: Any) -> list[dict[str, Any]]:
    """Lines of a JSON log with this event and these fields."""
    found = []
    for line in proxy.logs().splitlines():
        if line.startswith("{"):
            record = json.loads(line)
            if record.get("event") == event and all(record.get(name) == value for name, value in fields.items()):
                found.append(record)
    return found


def chat_body(model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "Say hello."}], **more}


class InThread(Generic[T]):
    """A call that runs beside the test. `result()` waits for it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._future: Future[T] = self._pool.submit(call)
        self._pool.shutdown(wait=False)

    def result(self, timeout: float = 20.0) -> T:
        return self._future.result(timeout)

    @property
    def done(self) -> bool:
        return self._future.done()


def http() -> httpx.Client:
    """A client that takes nothing from this machine's environment."""
    return httpx.Client(trust_env=False, timeout=20)
