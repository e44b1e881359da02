"""docs/python.md: its rules are used, its programs are run in order, and what they print stands below them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import proxy
from proxy.inprocess import errors
from tests.e2e.backend import Backend, Reply, Seen, answer_chat, chat_events, running_backend
from tests.harness import CHAT_USAGE, ROOT
from tests.inprocess.conftest import Books, Run, finished

TEXT = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
RULES = re.search(r"^```yaml rules\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

RUNNER = """
import contextlib, io, json, sys
printed = []
for program in json.loads(sys.stdin.readline()):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "docs/python.md", "exec"), {"__name__": "documents"})
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


@pytest.fixture
def backend() -> Iterator[Backend]:
    async def either(seen: Seen, reply: Reply) -> None:
        if seen.json().get("stream"):
            await reply.events(*chat_events(["one ", "two ", "three ", "four ", "five"], CHAT_USAGE))
        else:
            await answer_chat(seen, reply)

    with running_backend() as made:
        made.answer = either
        yield made


def test_the_programs_of_the_document_print_what_it_says(
    books: Books, run: Run, tmp_path: Path, backend: Backend
) -> None:
    assert RULES is not None
    assert len(PROGRAMS) == TEXT.count("```python\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES[1])
    program = run(
        RUNNER,
        SPENDGATE_RULES=str(rules),
        OPENAI_BASE_URL=f"{backend.url}/v1",
        OPENAI_API_KEY="any",
        NO_PROXY="127.0.0.1",
    )
    sources = [source.replace('"rules.yaml"', repr(str(rules))) for source, _ in PROGRAMS]
    printed = json.loads(finished(program, json.dumps(sources) + "\n"))
    today = datetime.now(ZoneInfo("Asia/Seoul")).date().isoformat()
    said = [re.sub(r"\d{4}-\d\d-\d\d", today, text) for _, text in PROGRAMS]
    assert printed == said
    told = [(entry["path"], entry["state"], entry["cost"]) for entry in books.written()]
    assert told == [
        ("documents.ask", "settled", "0.012302"),
        ("documents.send", "settled", "19.8"),
        ("documents.words", "settled", "0.012302"),
        ("documents", "settled", "500"),
        ("documents.remind", "settled", "9.9"),
        ("documents.remind", "settled", "9.9"),
    ]


def test_every_public_name_is_explained_and_every_class_has_its_reason() -> None:
    for name in proxy.__all__:
        if name != "Call":  # what `with budget(...) as call` gives
            assert re.search(rf"\b{name}\b", TEXT), name
    rows = dict(re.findall(r"^\| (\w+Exception) \| (.+) \|$", TEXT, re.MULTILINE))
    kinds = {kind.__name__: reason for reason, kind in errors._KINDS.items()}
    assert {name: set(re.findall(r"`(\w+)`", reasons)) for name, reasons in rows.items() if name in kinds} == {
        name: {reason} for name, reason in kinds.items()
    }


USER_CODE = """
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import proxy
from proxy import BudgetExceededException, RateLimitedException, api_rate_limited, budget, budget_controlled_api


@budget_controlled_api("openai", essential=True, estimate=lambda text, loud=False: len(text))
def shout(text: str, *, loud: bool = False) -> list[str]:
    return [text]


@budget_controlled_api("openai", cost=lambda result: "0.02 USD")
async def whisper(text: str) -> int:
    return len(text)


@budget_controlled_api("openai", cost=Decimal("1.5"))
def stream(count: int) -> Iterator[int]:
    yield from range(count)


@budget_controlled_api("openai")
async def astream(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@api_rate_limited("openai", per_minute=60, concurrent=8)
@budget_controlled_api("openai")
def both(text: str) -> bytes:
    return text.encode()


class Client:
    @budget_controlled_api("openai")
    def call(self, number: int) -> str:
        return str(number)


async def use() -> None:
    reveal_type(shout("x", loud=True))
    reveal_type(await whisper("x"))
    reveal_type([one for one in stream(2)])
    reveal_type([one async for one in astream(2)])
    reveal_type(Client().call(1))
    reveal_type(both("x"))
    with budget("openai", estimate=20) as call:
        reveal_type(call.charged)
    async with budget("openai", estimate="1 USD") as acall:
        acall.cost(1.5)
    try:
        shout("x")
    except RateLimitedException as refused:
        reveal_type(refused.retry_after)
    except BudgetExceededException as refused:
        reveal_type(refused.limit)
    shout(1)  # E: a wrong argument
    shout("x", quiet=True)  # E: an unknown one
    budget_controlled_api("openai", essential="yes")  # E
    api_rate_limited("openai", per_minute="60")  # E
    both(b"x")  # E
    proxy.no_such_name  # E
"""


def test_the_types_of_decorated_functions_are_their_own(tmp_path: Path) -> None:
    from mypy import api

    file = tmp_path / "user_code.py"
    file.write_text(USER_CODE)
    out, err, _ = api.run(["--strict", "--no-incremental", "--config-file=", str(file)])
    assert not err
    revealed = re.findall(r'Revealed type is "(.+)"', out)
    assert [re.sub(r"\bbuiltins\.|\bdecimal\.|\bdatetime\.", "", one) for one in revealed] == [
        "list[str]",
        "int",
        "list[int]",
        "list[int]",
        "str",
        "bytes",
        "Decimal | None",
        "int | None",
        "Decimal | None",
    ]
    wrong = {number for number, line in enumerate(USER_CODE.splitlines(), 1) if "# E" in line}
    found = {int(number) for number in re.findall(r"user_code\.py:(\d+): error", out)}
    assert found == wrong, out
