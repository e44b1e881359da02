"""Every recorded exchange of real providers, replayed through a running proxy, costs what it should.

USD rules are replayed by base URL, KRW rules through the forward proxy. The recorded answer's bytes are served as they
were stored, with their content coding. The truth of a row is its README's: `expected_usd`, at trust `low` the
provider's own figure; null has no truth and must only be marked.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from proxy.core import catalog
from tests.e2e.backend import Backend, Reply, Seen, running_backend
from tests.e2e.support import RATE, terms_sum
from tests.harness import RunningProxy, running_proxy, spendgate

Row = dict[str, Any]

# The catalogue's name of a provider where the material's own differs; a provider that is in neither is not an LLM's.
CATALOG = {"aws": "aws", "aws-mantle": "aws"}

FLAT = Decimal("0.0123")  # per request, of the APIs that the catalogue does not price


def rows_of(material: Path) -> list[Row]:
    path = material / "exchanges" / "exchanges.open.jsonl"
    if not path.exists():
        pytest.skip(f"recorded exchanges are absent: {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def rows(material: Path) -> list[Row]:
    return rows_of(material)


def body_of(row: Row, side: str) -> bytes:
    text = row[f"{side}_body"]
    if not text:
        return b""
    return base64.b64decode(text) if row.get(f"{side}_body_encoding") == "base64" else text.encode()


def catalogue_ids() -> set[str]:
    from genai_prices.data import providers

    return {provider.id for provider in providers}


def price_of(row: Row, known: set[str]) -> str:
    """A rule's price: the catalogue's for LLM providers it knows, else flat."""
    provider = CATALOG.get(row["provider"], row["provider"])
    if row["kind"] in ("llm", "synthetic-5xx") and provider in known:
        return f"catalog: {provider}"
    return f"per_request: {FLAT}, currency: USD"


def truth(row: Row, known: set[str]) -> Decimal | None:
    """Exact dollars, or None where nobody knows."""
    if price_of(row, known).startswith("per_request"):
        return FLAT if 200 <= row["status"] <= 299 else Decimal(0)
    if row["expected_trust"] is None:
        return None
    return Decimal(row["provider_reported_usd"] if row["expected_trust"] == "low" else row["expected_usd"])


class World:
    """The upstream that plays the recordings, on one address of this machine for each provider."""

    def __init__(self, rows: list[Row], backend: Backend) -> None:
        self.rows = {row["id"]: row for row in rows}
        self.backend = backend
        self.known = catalogue_ids()
        self.providers = sorted({row["provider"] for row in rows})
        self.address = {name: f"127.0.1.{number}" for number, name in enumerate(self.providers, 1)}
        backend.answer = self.play

    async def play(self, seen: Seen, reply: Reply) -> None:
        row = self.rows[seen.get("x-row") or ""]
        assert seen.target == row["path"]
        assert seen.body == body_of(row, "request")
        body = body_of(row, "response")
        fields = [(name, value) for name, value in (row["response_headers"] or {}).items()]
        if row["streaming"]:
            await reply.head(row["status"], *fields)
            for at in range(0, len(body), 700):
                await reply.piece(body[at : at + 700])
            await reply.end()
        else:
            await reply.whole(body, row["status"], *fields)

    def rules(self, currency: str) -> str:
        fx = "fx: {USD: 1390}\n" if currency != "USD" else ""
        apis = []
        for name in self.providers:
            prices = {price_of(row, self.known) for row in self.rows.values() if row["provider"] == name}
            (price,) = prices
            upstream = f"http://{self.address[name]}:{self.backend.port}"
            apis.append(f"  - name: {name}\n    upstream: {upstream}\n    prices:\n      - {{{price}}}\n")
        # The largest worst case of one call in the set must fit: this is about prices, not about budgets.
        budget = "budgets:\n  - {name: monthly, limit: 9000000, period: month}\n"
        return f"version: 1\ncurrency: {currency}\n{fx}{budget}apis:\n" + "".join(apis)

    def replay(self, proxy: RunningProxy, forward: bool) -> dict[str, tuple[str, bytes]]:
        """Row id -> (request id, body as received)."""

        def one(row: Row) -> tuple[str, tuple[str, bytes]]:
            headers = {"X-Row": row["id"], **(row["request_headers"] or {})}
            headers = {name: value for name, value in headers.items() if name.lower() not in FRAMING}
            target = row["path"]
            if forward:
                target = f"http://{self.address[row['provider']]}:{self.backend.port}{target}"
            else:
                headers["Host"] = f"{row['provider']}.spendgate.local"
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
            try:
                connection.request(row["method"], target, body_of(row, "request") or None, headers)
                answer = connection.getresponse()
                body = answer.read()
            finally:
                connection.close()
            assert answer.status == row["status"], (row["id"], answer.status, body[:300])
            request_id = answer.getheader("X-Spendgate-Request-Id")
            assert request_id
            return row["id"], (request_id, body)

        with ThreadPoolExecutor(4) as pool:
            return dict(pool.map(one, self.rows.values()))


FRAMING = {"host", "content-length", "transfer-encoding", "connection", "expect"}


@pytest.fixture(scope="module")
def world(rows: list[Row]) -> Iterator[World]:
    with running_backend("0.0.0.0") as backend:  # noqa: S104 - one server under many loopback addresses
        yield World(rows, backend)


@pytest.fixture(scope="module", params=["USD", "KRW"])
def replayed(
    request: pytest.FixtureRequest, world: World, folder: Callable[[str], Path]
) -> Iterator[tuple[str, RunningProxy, dict[str, Row]]]:
    """The currency, the proxy, and the ledger entry of every row. The bodies were compared on the way."""
    currency = request.param
    with running_proxy(world.rules(currency), folder("replay"), "--log-format", "json") as proxy:
        answers = world.replay(proxy, forward=currency == "KRW")
        for row_id, (_, body) in answers.items():
            assert body == body_of(world.rows[row_id], "response"), row_id
        entries = {entry["id"]: entry for entry in proxy.ledger("--last", "10000")}
        assert len(entries) == len(world.rows)
        yield currency, proxy, {row_id: entries[request_id] for row_id, (request_id, _) in answers.items()}


ORACLE_MS = 1_795_176_000_000  # 2026-11-20T12:00Z, the instant of the oracle's prices


def same_price_now(row: Row) -> bool:
    """Whether the catalogue has one price for the row's model now and at the oracle's instant.

    Some models cost more at some hours (DeepSeek's peak), and a running proxy prices by its clock; the same rows are
    priced at the oracle's instant in tests/core/test_exchanges.py.
    """
    entry = catalog.find(CATALOG.get(row["provider"], row["provider"]), row["model"] or "")
    if entry is None:
        return True
    # an hour of margin: the rows were replayed a little before they are judged
    moments = (time.time_ns() // 1_000_000 - shift for shift in (0, 3_600_000))
    return all(entry.price(moment).units == entry.price(ORACLE_MS).units for moment in moments)


def in_ledger(dollars: Decimal, currency: str) -> Decimal:
    amount, step = (dollars, "0.000000001") if currency == "USD" else (dollars * RATE, "0.000001")
    return amount.quantize(Decimal(step), ROUND_HALF_UP)


Result = tuple[str, RunningProxy, dict[str, Row]]


@pytest.mark.parametrize("trust", ["high", "definition", "medium", "low"])
def test_every_row_costs_the_truth_to_the_atom(replayed: Result, world: World, trust: str) -> None:
    currency, _, ledger = replayed
    wrong = []
    judged = [row for row in world.rows.values() if row["expected_trust"] == trust and same_price_now(row)]
    for row in judged:
        dollars = truth(row, world.known)
        assert dollars is not None
        entry = ledger[row["id"]]
        found = Decimal(entry["original_cost"]), Decimal(entry["cost"])
        if found != (dollars, in_ledger(dollars, currency)):
            wrong.append(f"{row['id']} {row['provider']} {row['model']}: {found}, not {dollars} ({row['doubts']})")
        if entry["original_currency"] != "USD" or (currency == "KRW" and dollars and Decimal(entry["fx_rate"]) != RATE):
            wrong.append(f"{row['id']}: {entry['original_currency']} at {entry['fx_rate']}")
    assert judged
    assert wrong == []


def test_flat_prices_are_charged_by_status(replayed: Result, world: World) -> None:
    currency, _, ledger = replayed
    flat = [row for row in world.rows.values() if price_of(row, world.known).startswith("per_request")]
    assert flat
    for row in flat:
        dollars = FLAT if 200 <= row["status"] <= 299 else Decimal(0)
        assert Decimal(ledger[row["id"]]["cost"]) == in_ledger(dollars, currency), row["id"]


def test_rows_without_an_oracle_are_marked_and_told(replayed: Result, world: World) -> None:
    """No price is invented in silence: settled only where the endpoint is free or the provider told its own figure."""
    _, proxy, ledger = replayed
    log = proxy.logs()
    for row in world.rows.values():
        if truth(row, world.known) is None:
            entry = ledger[row["id"]]
            free = Decimal(entry["cost"]) == 0 and entry["state"] == "settled"
            assert free or entry["state"] in ("estimated", "unpriced") or row["usage"], (row["id"], entry)
            if entry["state"] in ("estimated", "unpriced"):
                assert entry["id"] in log, row["id"]


def test_errors_are_free_and_settled(replayed: Result, world: World) -> None:
    _, _, ledger = replayed
    for row in world.rows.values():
        if row["status"] >= 400:
            entry = ledger[row["id"]]
            assert (entry["status"], entry["cost"], entry["state"]) == (row["status"], "0", "settled"), row["id"]


def test_the_terms_of_every_entry_add_up(replayed: Result, world: World) -> None:
    _, proxy, ledger = replayed
    for row_id, entry in ledger.items():
        if entry["terms"]:
            assert terms_sum(entry) == Decimal(entry["original_cost"]), row_id
        assert Decimal(entry["estimate"]) >= 0
    budget = proxy.budget()
    assert Decimal(budget["spent"]) == sum(Decimal(entry["cost"]) for entry in ledger.values())
    assert budget["reserved"] == "0"


def test_the_worst_case_is_never_below_what_a_call_cost(replayed: Result, world: World) -> None:
    """Strict mode rests on this. Only what does not name its model beforehand cannot be estimated, and is marked."""
    _, _, ledger = replayed
    for row_id, entry in ledger.items():
        if Decimal(entry["estimate"]) < Decimal(entry["cost"]):
            assert "model" not in json.loads(body_of(world.rows[row_id], "request")), row_id
            assert entry["estimate"] == "0"
            assert entry["state"] == "estimated"


def test_the_price_command_says_the_same_for_every_row(replayed: Result, world: World, tmp_path: Path) -> None:
    _, proxy, ledger = replayed
    file = tmp_path / "exchanges.jsonl"
    order = sorted(world.rows)
    lines = []
    for row_id in order:
        row = world.rows[row_id]
        host = f"{world.address[row['provider']]}:{world.backend.port}"
        lines.append(json.dumps({**row, "host": host, "scheme": "http"}))
    file.write_text("\n".join(lines))
    done = spendgate("price", "--rules", str(proxy.rules), "--exchange", str(file), "--json")
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(printed) == len(order)
    for row_id, told in zip(order, printed, strict=True):
        entry = ledger[row_id]
        for field in ("api", "rule", "cost", "currency", "original_cost", "original_currency", "state", "terms"):
            assert told[field] == entry[field], (row_id, field, told[field], entry[field])


def test_one_row_as_a_file_is_priced_by_the_documented_command(world: World, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "version: 1\ncurrency: KRW\nfx: {USD: 1390}\nbudgets: [{name: m, limit: 9000000}]\napis:\n"
        "  - name: openai\n    upstream: https://api.openai.com\n    hosts: [api.openai.com]\n"
        '    credentials: {header: Authorization, value: "Bearer ${SURELY_NOT_SET_HERE}"}\n'
        "    prices: [{catalog: openai}]\n"
    )
    row = next(
        one for one in world.rows.values() if one["host"] == "api.openai.com" and one["expected_trust"] == "high"
    )
    file = tmp_path / "row.json"
    file.write_text(json.dumps(row, indent=1))
    done = spendgate("price", "--rules", str(rules), "--exchange", str(file), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {
        "api",
        "rule",
        "estimate",
        "cost",
        "currency",
        "original_cost",
        "original_currency",
        "state",
        "terms",
    } <= set(told)
    assert Decimal(told["original_cost"]) == Decimal(row["expected_usd"])
    assert Decimal(told["cost"]) == in_ledger(Decimal(row["expected_usd"]), "KRW")
