"""The emergency desk end to end: by command and over HTTP, obeyed by the next proxied call, in the trail, undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.cli.app import main
from tests.admin.seeds import opened, storm
from tests.admin.test_frame import TOKENS, refused
from tests.e2e.backend import Backend, running_backend
from tests.harness import RunningProxy, running_proxy, spendgate

RULES = """version: 1
language: en
budgets: [{{name: monthly, limit: 100}}, {{name: dollars, limit: 5, currency: USD}}]
fx: {{USD: 1390}}
apis:
  - {{name: api, upstream: "{url}", prices: [{{name: call, per_request: 7}}]}}
  - name: free
    upstream: "{url}"
    breaker: {{consecutive: 1000, window: 60s, open_for: 60s}}
    prices: [{{free: true}}]
admin:
  second_approver: 50%
  tokens:
    - {{name: anna, role: admin, token_env: TOKEN_ADMIN}}
    - {{name: bert, role: admin, token_env: TOKEN_SECOND}}
    - {{name: olaf, role: operator, token_env: TOKEN_OPERATOR}}
    - {{name: vera, role: viewer, token_env: TOKEN_VIEWER}}
"""
PEOPLE = {**TOKENS, "TOKEN_SECOND": f"second-{'x' * 32}"}


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with running_backend() as one:
        yield one


@pytest.fixture(scope="module")
def proxy(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with running_proxy(RULES.format(url=backend.url), tmp_path_factory.mktemp("desk"), env=PEOPLE) as one:
        yield one


def act(proxy: RunningProxy, path: str, who: str = "ADMIN", **body: Any) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=20) as client:
        headers = {"Authorization": f"Bearer {PEOPLE[f'TOKEN_{who}']}"}
        url = f"{proxy.admin_url}/api/v1{path}"
        return client.post(url, json=body, headers=headers) if body else client.get(url, headers=headers)


def call(proxy: RunningProxy, api: str = "api") -> tuple[int, str | None]:
    with httpx.Client(trust_env=False, timeout=20) as client:
        answer = client.get(f"{proxy.url}/{api}/x")
        return answer.status_code, answer.headers.get("X-Spendgate-Reason")


def test_over_http_the_next_call_obeys_and_one_request_undoes_it(proxy: RunningProxy) -> None:
    assert call(proxy) == (200, None)
    for path, body in (
        ("stop", {}),
        ("block", {"target": "api:api", "until": "2h"}),
        ("block", {"target": "rule:api/call"}),
        ("block", {"target": "caller:anonymous"}),
    ):
        done = act(proxy, f"/emergency/{path}", "OPERATOR", reason="looks wrong", **body)
        assert done.status_code == 201, done.text
        assert call(proxy) == (503, "service_stopped")
        if path == "stop":
            assert call(proxy, "free") == (200, None)
        entry = done.json()
        assert (entry["by"], entry["via"], entry["undoable"]) == ("olaf", "api", True)
        standing = act(proxy, "/emergency", "VIEWER").json()["switches"]
        assert [one["entry"] for one in standing] == [entry["number"]]
        undone = act(proxy, f"/emergency/undo/{entry['number']}", "OPERATOR", reason="it is right")
        assert undone.json()["undoes"] == entry["number"]
        assert call(proxy) == (200, None)
    assert act(proxy, "/audit/verify", "VIEWER").json()["sound"] is True


def test_by_command_too_and_both_see_the_same(proxy: RunningProxy) -> None:
    done = spendgate("emergency", "stop", "--reason", "by hand", "--json", *proxy.store_flags)
    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout)
    assert call(proxy) == (503, "service_stopped")
    assert act(proxy, f"/audit/{entry['number']}", "VIEWER").json()["reason"] == "by hand"
    done = spendgate("emergency", "undo", str(entry["number"]), "--reason", "over", *proxy.store_flags)
    assert done.returncode == 0, done.stderr
    assert call(proxy) == (200, None)
    again = spendgate("emergency", "undo", str(entry["number"]), "--reason", "over", *proxy.store_flags)
    assert again.returncode == 1
    assert "was undone already" in again.stderr
    listed = spendgate("audit", "list", "--json", *proxy.store_flags)
    # The newest may be the leader's own, of an incident that it noticed meanwhile.
    assert entry["number"] in [json.loads(line)["undoes"] for line in listed.stdout.splitlines()]
    assert spendgate("audit", "verify", *proxy.store_flags).returncode == 0


def test_roles_keep_apart_who_looks_who_acts_and_who_decides(proxy: RunningProxy) -> None:
    assert refused(act(proxy, "/emergency/stop", "VIEWER", reason="x")) == (403, "role_too_low")
    assert refused(act(proxy, "/emergency/bypass", "OPERATOR", reason="x", until="1h")) == (403, "role_too_low")
    body = {"reason": "x", "budget": "monthly", "amount": "1"}
    assert refused(act(proxy, "/emergency/increase", "OPERATOR", **body)) == (403, "role_too_low")


def test_what_cannot_be_done_is_told_in_the_askers_words(proxy: RunningProxy) -> None:
    for path, body, told in (
        ("bypass", {"reason": "x", "until": "8d"}, (422, "too_long")),
        ("bypass", {"reason": "x"}, (422, "invalid")),
        ("block", {"reason": "x", "target": "api:nope"}, (404, "no_target")),
        ("stop", {"reason": "x", "until": "yesterday"}, (422, "bad_until")),
        ("increase", {"reason": "x", "budget": "monthly", "amount": "much"}, (422, "bad_amount")),
        ("undo/999", {"reason": "x"}, (404, "no_entry")),
    ):
        assert refused(act(proxy, f"/emergency/{path}", **body)) == told


def test_an_incident_over_http_is_listed_seen_acted_upon_and_resolved(proxy: RunningProxy) -> None:
    opened(proxy, PEOPLE, storm("0a1b2c3d"))
    mine = "/incidents/0a1b2c3d"
    (found,) = [one for one in act(proxy, "/incidents", "VIEWER").json()["incidents"] if one["id"] == "0a1b2c3d"]
    assert (found["title"], found["level"], found["state"]) == ("api: 60 % of its calls fail", "high", "open")
    assert found["proposed"] == [{"action": "block_api", "targets": ["api:api"], "text": "Block the API api"}]
    assert refused(act(proxy, f"{mine}/acknowledge", "VIEWER", note="x")) == (403, "role_too_low")
    assert refused(act(proxy, "/incidents/nothing")) == (404, "no_incident")
    seen = act(proxy, f"{mine}/acknowledge", "OPERATOR", note="asking them").json()
    assert (seen["acknowledged_by"], seen["notes"][0]["text"]) == ("olaf", "asking them")
    unseen = act(proxy, "/incidents?acknowledged=no&level=high").json()["incidents"]
    assert "0a1b2c3d" not in [one["id"] for one in unseen]
    assert refused(act(proxy, f"{mine}/apply", "OPERATOR", action="stop_all")) == (409, "not_proposed")
    done = act(proxy, f"{mine}/apply", "OPERATOR", reason="no use", until="10m").json()
    assert call(proxy) == (503, "service_stopped"), "the very next call obeys"
    (entry,) = done["entries"]
    assert entry["reason"] == "incident 0a1b2c3d: api: 60 % of its calls fail / no use"
    assert [(one["entry"], one["in_force"]) for one in done["incident"]["taken"]] == [(entry["number"], True)]
    act(proxy, f"/emergency/undo/{entry['number']}", "OPERATOR", reason="they are back")
    assert call(proxy) == (200, None)
    assert [one["in_force"] for one in act(proxy, mine).json()["taken"]] == [False]
    assert refused(act(proxy, f"{mine}/resolve", "OPERATOR", note="")) == (422, "invalid")
    assert act(proxy, f"{mine}/resolve", "OPERATOR", note="it was theirs").json()["state"] == "resolved"
    assert refused(act(proxy, f"{mine}/resolve", "OPERATOR", note="again")) == (409, "incident_over")
    everything = act(proxy, "/incidents?state=all&limit=500").json()["incidents"]
    assert "0a1b2c3d" in [one["id"] for one in everything]
    assert act(proxy, "/audit/verify", "VIEWER").json()["sound"] is True


def test_an_incident_by_command(proxy: RunningProxy, capfd: pytest.CaptureFixture[str]) -> None:
    opened(proxy, PEOPLE, storm("1a1b2c3d", cause="errors:other"))

    def run(*words: str, lang: str = "en") -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(("emergency", *words, *proxy.store_flags, "--lang", lang), PEOPLE)
        return (code, *capfd.readouterr())

    code, out, _ = run("incidents")
    assert code == 0
    (row,) = [line for line in out.splitlines() if "1a1b2c3d" in line]
    words = row.split()
    assert (words[1], words[4], " ".join(words[5:])) == ("high", "open", "api: 60 % of its calls fail")
    assert "See them: spendgate emergency incidents" in run("status")[1]
    _, out, _ = run("incident", "show", "1a1b2c3d", lang="ko")
    assert "사고 1a1b2c3d (높음), 열림" in out
    assert "제안: API api 차단. 실행: spendgate emergency incident apply 1a1b2c3d block_api" in out
    assert run("incident", "acknowledge", "1a1b2c3d", "--note", "mine", "--by", "zoe")[0] == 0
    code, out, _ = run("incident", "apply", "1a1b2c3d", "--until", "5m", "--json")
    (entry,) = json.loads(out)["entries"]
    assert (entry["action"], entry["target"], call(proxy)) == ("block", "api:api", (503, "service_stopped"))
    code, out, _ = run("incident", "resolve", "1a1b2c3d", "--note", "theirs")
    assert out.splitlines()[0] == "Incident 1a1b2c3d is resolved."
    assert "What was done about it holds until it ends: the API api is blocked until" in out
    assert run("undo", str(entry["number"]), "--reason", "back")[0] == 0
    _, out, _ = run("incident", "show", "1a1b2c3d", "--json")
    shown = json.loads(out)
    assert (shown["notes"][0]["by"], shown["state"], shown["proposed"]) == ("zoe", "resolved", [])
    code, _, err = run("incident", "apply", "1a1b2c3d")
    assert (code, "is over already" in err) == (1, True)
    code, _, err = run("incident", "close", "1a1b2c3d")
    assert (code, "incident show|acknowledge|resolve|apply ID" in err) == (2, True)
    assert "1a1b2c3d" in run("incidents", "--all")[1]


def test_a_large_increase_waits_for_a_second_person_and_then_lets_calls_pass(proxy: RunningProxy) -> None:
    while (last := call(proxy))[0] == 200:
        pass
    assert last[0] in (402, 503)
    asked = act(proxy, "/emergency/increase", reason="campaign", budget="monthly", amount="80").json()
    assert asked["action"] == "increase.asked"
    assert [one["number"] for one in act(proxy, "/emergency").json()["waiting"]] == [asked["number"]]
    assert refused(act(proxy, f"/emergency/approve/{asked['number']}", reason="me")) == (409, "same_person")
    assert call(proxy)[0] != 200
    done = act(proxy, f"/emergency/approve/{asked['number']}", "SECOND", reason="agreed").json()
    assert done["after"] == "180 KRW"
    assert call(proxy) == (200, None)
    taken = act(proxy, f"/emergency/undo/{done['number']}", reason="over")
    assert taken.status_code == 201
    assert call(proxy)[0] != 200
    through = act(proxy, "/emergency/bypass", reason="outage", until="10m").json()
    assert call(proxy) == (200, None)
    act(proxy, f"/emergency/undo/{through['number']}", reason="over")
    assert call(proxy)[0] != 200
    assert proxy.budget()["spent"] == str(
        7 * (len(proxy.ledger()) - len([r for r in proxy.ledger() if r["api"] == "free"]))
    )


# --- circuits by hand -------------------------------------------------------------------------------------------------


def circuit(proxy: RunningProxy) -> dict[str, Any]:
    (found,) = act(proxy, "/breakers", "VIEWER").json()["breakers"]
    return dict(found)


def test_a_circuit_is_opened_closed_and_forgotten_over_http_and_each_act_is_in_the_trail(proxy: RunningProxy) -> None:
    assert call(proxy, "free") == (200, None)
    before = circuit(proxy)
    assert (before["name"], before["state"], before["by"], before["next_probe_at"]) == ("free", "closed", None, None)
    acts = []
    for what, body, passes in (
        ("open", {}, False),
        ("close", {}, True),
        ("open", {"until": "2h"}, False),
        ("reset", {}, True),
    ):
        done = act(proxy, f"/breakers/{what}", "OPERATOR", name="free", reason="maintenance", **body)
        assert done.status_code == 201, done.text
        acts.append(done.json())
        assert call(proxy, "free") == ((200, None) if passes else (503, "circuit_open"))
        shown = circuit(proxy)
        assert shown["state"] == ("closed" if passes else "open")
        assert shown["by"] == (None if what == "reset" else "olaf: maintenance")
        assert (shown["next_probe_at"] is not None) == ("until" in body)
    told = [(one["action"], one["target"], one["by"], one["via"], one["before"], one["after"]) for one in acts]
    assert told == [
        ("breaker_open", "breaker:free", "olaf", "api", "closed", "open"),
        ("breaker_close", "breaker:free", "olaf", "api", "open", "closed"),
        ("breaker_open", "breaker:free", "olaf", "api", "closed", "open"),
        ("breaker_reset", "breaker:free", "olaf", "api", "open", "closed"),
    ]
    for one in acts:
        assert act(proxy, f"/audit/{one['number']}", "VIEWER").json() == one
    assert act(proxy, "/audit/verify", "VIEWER").json()["sound"] is True


def test_circuits_are_for_operators_with_a_reason_and_a_name(proxy: RunningProxy) -> None:
    for what in ("open", "close", "reset"):
        path = f"/breakers/{what}"
        assert refused(act(proxy, path, "VIEWER", name="free", reason="x")) == (403, "role_too_low")
        assert refused(act(proxy, path, "OPERATOR", name="nobody", reason="x")) == (404, "no_target")
        assert refused(act(proxy, path, "OPERATOR", name="free")) == (422, "invalid")
    until = {"name": "free", "reason": "x", "until": "then"}
    assert refused(act(proxy, "/breakers/open", "OPERATOR", **until)) == (422, "bad_until")
