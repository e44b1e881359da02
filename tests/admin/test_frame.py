"""The admin API's guard and its answers, over real sockets: who gets in, what is refused, what is described."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from proxy.core.admin_model import Admin, Role, Token, safe_to_serve
from tests.harness import RunningProxy, running_proxy

PLAIN = """version: 1
budgets: [{name: monthly, limit: 15000}]
apis: [{name: api, upstream: "http://127.0.0.1:9", prices: [{per_request: 1}]}]
"""
GUARDED = (
    PLAIN
    + """admin:
  tokens:
    - {name: anna, role: admin, token_env: TOKEN_ADMIN}
    - {name: olaf, role: operator, token_env: TOKEN_OPERATOR}
    - {name: vera, role: viewer, token_env: TOKEN_VIEWER}
"""
)
ANY = "0.0.0.0"  # noqa: S104 - never bound: it is refused
TOKENS = {f"TOKEN_{role}": f"{role.lower()}-{'x' * 32}" for role in ("ADMIN", "OPERATOR", "VIEWER")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with running_proxy(PLAIN, tmp_path_factory.mktemp("plain")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with running_proxy(GUARDED, tmp_path_factory.mktemp("guarded"), env=TOKENS) as proxy:
        yield proxy


def ask(proxy: RunningProxy, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=10) as client:
        return client.request(method, f"{proxy.admin_url}/api/v1{path}", headers=headers)


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"] == f"urn:spendgate:problem:{document['reason']}"
    assert document["detail"].endswith(".") or document["detail"].endswith("TOKEN.")
    return answer.status_code, document["reason"]


def test_without_tokens_this_machine_is_admin_and_is_told_so(plain: RunningProxy) -> None:
    assert ask(plain, "/me").json() == {"name": "local", "role": "admin", "language": "en"}
    assert ask(plain, "/system").json()["tokens_required"] is False


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "10.0.0.1", "x@127.0.0.1"]
)
def test_without_tokens_another_name_is_refused(plain: RunningProxy, host: str) -> None:
    assert refused(ask(plain, "/me", Host=host)) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "[::1]:8081", "127.0.0.1", "127.8.8.8:80"])
def test_names_of_this_machine_are_served(plain: RunningProxy, host: str) -> None:
    assert ask(plain, "/me", Host=host).status_code == 200


def test_pages_of_other_sites_are_refused(plain: RunningProxy, guarded: RunningProxy) -> None:
    assert refused(ask(plain, "/me", **{"Sec-Fetch-Site": "cross-site"})) == (403, "foreign_page")
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{plain.port}"):
        assert refused(ask(plain, "/nothing", "GET", Origin=origin))[0] == 404
    bearer = f"Bearer {TOKENS['TOKEN_ADMIN']}"
    answer = ask(guarded, "/me", Authorization=bearer, **{"Sec-Fetch-Site": "same-site"})
    assert refused(answer) == (403, "foreign_page")


@pytest.mark.parametrize(("name", "role"), [("anna", "admin"), ("olaf", "operator"), ("vera", "viewer")])
def test_a_token_says_who_it_is(guarded: RunningProxy, name: str, role: str) -> None:
    answer = ask(guarded, "/me", Authorization=f"Bearer {TOKENS[f'TOKEN_{role.upper()}']}")
    assert answer.json() == {"name": name, "role": role, "language": "en"}


def test_no_token_or_a_wrong_one_is_401(guarded: RunningProxy) -> None:
    for given, reason in (("", "no_token"), ("Bearer nope", "bad_token"), ("Basic eDp5", "bad_token")):
        headers = {"Authorization": given} if given else {}
        answer = ask(guarded, "/me", **headers)
        assert refused(answer) == (401, reason)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="spendgate"'
    assert ask(guarded, "/openapi.json").status_code == 401
    with httpx.Client(trust_env=False) as client:  # health stays open: probes bring no token
        assert client.get(f"{guarded.admin_url}/readyz").status_code == 200


def test_roles_contain_each_other() -> None:
    assert [[has.may(needed) for needed in Role] for has in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_refusals_speak_the_askers_language(plain: RunningProxy) -> None:
    answer = ask(plain, "/nothing", **{"Accept-Language": "ko-KR,ko;q=0.9"})
    assert refused(answer) == (404, "not_found")
    assert answer.json()["detail"] == "이 주소에는 아무것도 없습니다."
    answer = ask(plain, "/me", "DELETE")
    assert refused(answer) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]
    assert refused(ask(plain, "/me?x=1")) == (422, "invalid")


def test_the_description_is_a_valid_openapi_document(plain: RunningProxy) -> None:
    document: dict[str, Any] = ask(plain, "/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    names = set(document["components"]["schemas"])
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert used <= names
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) >= 3
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for one in operations:
        assert one["x-role"] in set(Role)
        assert one["summary"]


@pytest.mark.parametrize(
    ("host", "tokens", "safe"),
    [
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("localhost", False, True),
        (ANY, False, False),
        ("::", False, False),
        ("10.0.0.5", False, False),
        ("proxy.example", False, False),
        (ANY, True, True),
    ],
)
def test_an_address_for_other_machines_needs_tokens(host: str, tokens: bool, safe: bool) -> None:
    admin = Admin((Token("a", Role.ADMIN, "x" * 20),) if tokens else ())
    assert safe_to_serve(host, admin) is safe


def test_serve_refuses_an_open_admin_address_and_says_why(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(PLAIN)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "proxy",
            "serve",
            "--rules",
            str(rules),
            "--admin",
            "0.0.0.0:0",
            "--data",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert f"{ANY}:0 can be reached from other machines" in done.stderr
    assert "Traceback" not in done.stderr


def test_forecasts_are_served_when_the_leader_has_made_them(plain: RunningProxy) -> None:
    deadline = time.monotonic() + 30
    while not (told := ask(plain, "/forecast").json()["forecasts"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (monthly,) = told
    assert (monthly["kind"], monthly["name"], monthly["basis"]) == ("budget", "monthly", "none")
    assert monthly["limit"] == "15000"
