"""discover: hosts beside the rules are counted, judged, and turned into rules that check accepts."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from proxy.cli.discover import Found, snippet
from proxy.cli.frame import Frame
from proxy.cli.paid import Verdict, known, likely
from proxy.core.catalog import provider_ids
from proxy.core.model import RuleSet
from proxy.core.text import CATALOGUE
from proxy.rules_file import load_text
from proxy.state.hosts import FIELDS_MOST, OTHERS, Hosts, Seen
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.cli.conftest import Spendgate
from tests.e2e.stores import PREFIX, embedded_url
from tests.e2e.support import eventually
from tests.harness import RunningProxy, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
callers: [{name: batch, key: "${KEY_BATCH}"}]
apis:
  - name: tunnelled
    upstream: http://127.0.0.40:1
    prices: [{match: {method: CONNECT}, per_connection: 1}]
  - name: opaque
    upstream: https://opaque.invalid
    prices: [{per_request: 1}]
"""


@pytest.mark.parametrize(
    ("host", "verdict", "catalog"),
    [
        ("api.openai.com", "yes", "openai"),
        ("team.openai.azure.com", "yes", "azure"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "yes", "aws"),
        ("us-central1-aiplatform.googleapis.com", "yes", "google"),
        ("dapi.kakao.com", "yes", None),
        ("github.com", "no", None),
        ("api.github.com", "no", None),
        ("api.example.com", "perhaps", None),
        ("v2.api.example.com", "perhaps", None),
        ("www.example.com", "unknown", None),
        ("openai.azure.com", "unknown", None),
        ("xapi.openai.com", "unknown", None),
    ],
)
def test_what_usually_costs_money(host: str, verdict: str, catalog: str | None) -> None:
    assert (likely(host).likely, likely(host).catalog) == (verdict, catalog)


def test_the_list_has_reasons_and_providers_that_exist() -> None:
    ids = set(provider_ids())
    assert len(known()) > 80
    for entry in known():
        assert f"cli.discover.why.{entry.verdict.why}" in CATALOGUE
        assert entry.verdict.catalog is None or entry.verdict.catalog in ids, entry.verdict


def rule_set(text: str) -> RuleSet:
    loaded = load_text(text)
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    return loaded.rules


def found(host: str) -> Found:
    name = host.removeprefix("http://").partition(":")[0]
    return Found(Seen(host, Counter(refused=1)), likely(name), None, False)


EVERY_KIND = [
    "api.openai.com",
    "dapi.kakao.com",
    "http://api.example.com",
    "api.example.com:8443",
    "a.openai.azure.com",
    "b.openai.azure.com",
    "github.com",
    "www.example.com",
]


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("head", ["currency: KRW\n", "currency: USD\n", "currency: KRW\nfx: {USD: 1390}\n"])
def test_the_lines_to_add_are_rules_that_check_accepts(head: str, language: str) -> None:
    base = f"version: 1\n{head}budgets: [{{name: m, limit: 1}}]\n"
    text = snippet(rule_set(base), [found(host) for host in EVERY_KIND], Frame(language, {}))
    loaded = load_text(base + text)
    assert (loaded.mistakes, loaded.warnings) == ((), ())
    assert loaded.rules is not None
    names = {api.name: api for api in loaded.rules.apis}
    assert {"openai", "kakao-map", "azure-openai"} <= set(names)
    assert names["azure-openai"].hosts == ("a.openai.azure.com", "b.openai.azure.com")
    assert names["openai"].intercept
    assert len(names) == 5
    assert ("fx:" in text) == (head == "currency: KRW\n")


def test_a_name_that_is_taken_is_not_used_again() -> None:
    base = (
        "version: 1\ncurrency: USD\nbudgets: [{name: m, limit: 1}]\napis:\n"
        "  - {name: openai, upstream: 'https://x.example.com', prices: [{per_request: 1}]}\n"
    )
    text = snippet(rule_set(base), [found("api.openai.com")], Frame("en", {}))
    assert "name: openai-2" in text
    assert load_text(base + text.removeprefix("apis:\n")).mistakes == ()


def test_nothing_to_add_is_nothing() -> None:
    rules = rule_set("version: 1\ncurrency: KRW\nbudgets: [{name: m, limit: 1}]\n")
    assert (
        snippet(
            rules, [found("github.com"), Found(Seen(OTHERS), Verdict("unknown", "many"), None, False)], Frame("en", {})
        )
        == ""
    )


# --- counted by a running proxy ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with running_proxy(RULES, tmp_path_factory.mktemp("d"), env={"KEY_BATCH": "secret"}) as running:
        yield running


def connect(proxy: RunningProxy, authority: str) -> int:
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as connection:
        auth = "Proxy-Authorization: Basic YmF0Y2g6c2VjcmV0\r\n"
        connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{auth}\r\n".encode())
        return int(connection.recv(100).split()[1])


def discover(proxy: RunningProxy, spendgate: Spendgate, *more: str) -> Any:
    return spendgate("discover", "--rules", str(proxy.rules), "--data", str(proxy.data), *more)


def test_hosts_beside_the_rules_are_counted_and_shown(proxy: RunningProxy, spendgate: Spendgate) -> None:
    assert [connect(proxy, "api.openai.com:443") for _ in range(3)] == [403] * 3
    assert connect(proxy, "opaque.invalid:443") == 403
    assert connect(proxy, "127.0.0.40:1") == 502  # nobody listens there; it was a tunnel that a rule prices
    with httpx.Client(proxy=proxy.url.replace("http://", "http://batch:secret@"), trust_env=False) as client:
        assert client.get("http://www.unknown.invalid/x").status_code == 403

    def counted() -> dict[str, Any] | None:
        document = json.loads(discover(proxy, spendgate, "--json").stdout)
        hosts = {host["host"]: host for host in document["hosts"]}
        return {**document, "by_host": hosts} if len(hosts) >= 4 else None

    document = eventually(counted, "the roll-up", 20.0)
    hosts = document["by_host"]
    openai = hosts["api.openai.com"]
    assert (openai["calls"], openai["by_outcome"]) == (3, {"refused": 3})
    assert (openai["callers"], openai["likely_paid"], openai["api"]) == ({"batch": 3}, "yes", None)
    assert hosts["opaque.invalid"]["api"] == "opaque"
    assert hosts["127.0.0.40:1"]["by_outcome"] == {"tunnel": 1}
    assert hosts["http://www.unknown.invalid"]["likely_paid"] == "unknown"
    assert "name: openai\n    upstream: https://api.openai.com\n    intercept: true" in document["rules"]

    shown = discover(proxy, spendgate).stdout
    assert "api.openai.com" in shown
    assert "3 refused" in shown
    assert "yes: AI models" in shown
    assert "“intercept: true” at “opaque”" in shown
    assert "Add these lines to rules.yaml" in shown
    assert "rules.yaml에 다음 줄을" in discover(proxy, spendgate, "--lang", "ko").stdout


async def test_the_number_of_hosts_is_bounded(proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.state.hosts.BUFFERED_MOST", 10)
    store, keys = Store(embedded_url(proxy)), Keys("bounded")
    assert await store.start()
    hosts = Hosts(keys, lambda: 1_760_000_000_000, lambda: "UTC")
    for number in range(50):
        hosts.count(f"h{number}.example.com", "batch", "refused")
    await hosts.write(store)
    key = keys.hosts("2025-10-09")
    with redis.Redis.from_url(embedded_url(proxy), decode_responses=True) as client:
        assert client.hget(key, f"calls|refused|{OTHERS}") == "40"
        assert client.hlen(key) == 22
        assert 40 * 86_400 < client.ttl(key) <= 41 * 86_400
        client.hset(key, mapping={f"filler{number}": 1 for number in range(FIELDS_MOST)})
        hosts.count("late.example.com", "batch", "refused")
        hosts.count("h1.example.com", "batch", "refused")
        await hosts.write(store)
        assert not client.hexists(key, "calls|refused|late.example.com")
        assert client.hget(key, "calls|refused|h1.example.com") == "2"
        client.delete(key)
    await store.close()
    assert PREFIX in Keys().hosts("x")


def test_where_nothing_was_counted_it_says_so(spendgate: Spendgate, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("version: 1\ncurrency: KRW\nbudgets: [{name: m, limit: 1}]\n")
    done = spendgate("discover", "--data", "none", "--days", "3")
    assert (done.returncode, "Days looked at: 3" in done.stdout) == (0, True)
