"""What the page answers by itself, and what it says when no rule covers a call: a real proxy before a recorded API."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from tests.data.rawsockets import Client, Recorder, connect, server
from tests.harness import running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
apis:
  - name: chat
    mount: talk
    upstream: http://127.0.0.1:{port}
    prices:
      - {{match: {{method: OPTIONS}}, free: true}}
      - {{match: {{path: /v1/chat}}, per_request: 1}}
"""


@contextlib.asynccontextmanager
async def before(recorder: Recorder, folder: Path) -> AsyncIterator[tuple[Client, int]]:
    """A client of a proxy whose only API is `recorder`, and that API's port."""
    async with server(recorder) as (_, port):
        with running_proxy(RULES.format(port=port), folder) as proxy:
            async with connect(("127.0.0.1", proxy.port)) as client:
                yield client, port


async def test_options_goes_as_far_as_max_forwards_lets_it(tmp_path: Path) -> None:
    recorder = Recorder()
    async with before(recorder, tmp_path) as (client, port):
        for target in (b"/talk/x", b"http://127.0.0.1:%d/x" % port, b"/nowhere"):
            await client.send(b"OPTIONS %b HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n" % target)
            own = await client.response()
            assert own.status == 200
            assert b"GET" in own.named[b"allow"]
            assert b"TRACE" not in own.named[b"allow"]
            assert own.named[b"content-length"] == b"0"
            assert len(own.named[b"x-spendgate-request-id"]) == 28
            assert b"via" not in own.named
        assert recorder.requests == []
        for sent, arrives in ((b"1", b"0"), (b"10", b"9"), (b"x", b"x")):
            await client.send(b"OPTIONS /talk/x HTTP/1.1\r\nHost: h\r\nMax-Forwards: %b\r\n\r\n" % sent)
            assert (await client.response()).status == 200
            assert b"\r\nMax-Forwards: %b\r\n" % arrives in recorder.requests.pop()
        # of other methods it means nothing
        await client.send(b"GET /talk/v1/chat HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n")
        assert (await client.response()).status == 200
        assert b"\r\nMax-Forwards: 0\r\n" in recorder.requests.pop()


async def test_a_call_without_a_rule_is_named_as_the_program_knows_it(tmp_path: Path) -> None:
    recorder = Recorder()
    async with before(recorder, tmp_path) as (client, port):
        for line, shown in (
            ("GET /talk/v1/files?a=1", "GET /talk/v1/files"),
            ("POST /talk", "POST /talk/"),
            (f"GET http://127.0.0.1:{port}/v1/files?a=1", f"GET 127.0.0.1:{port}/v1/files"),
            ("GET http://other.example/v1/files", "GET other.example/v1/files"),
            ("GET http://other.example:8080/v1/files", "GET other.example:8080/v1/files"),
            ("CONNECT other.example:443", "CONNECT other.example:443"),
        ):
            await client.send(f"{line} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            refusal = await client.response()
            assert refusal.status == 403
            assert f" {shown}," in json.loads(refusal.body)["detail"]
    assert recorder.requests == []


LOOKING = """
version: 1
currency: KRW
timezone: Asia/Seoul
callers:
  - {{name: one, key_env: KEY_ONE}}
  - {{name: two, key_env: KEY_TWO}}
apis:
  - name: chat
    mount: talk
    upstream: http://127.0.0.1:{port}
    prices:
      - {{name: short, match: {{header: {{content-length: "1"}}}}, per_request: 1}}
      - {{name: dear, match: {{json: {{model: dear}}}}, per_request: 100}}
      - {{name: rest, match: {{path: /v1/**}}, per_request: 10}}
  - name: plain
    upstream: http://127.0.0.1:{port}
    prices:
      - {{name: rest, match: {{path: /v1/**}}, per_request: 10}}
"""


async def test_a_head_that_comes_again_is_judged_with_its_own_body_length_and_key(tmp_path: Path) -> None:
    """What is remembered of a head is only what no body, length or key can change."""
    recorder, keys = Recorder(), {"KEY_ONE": "key-one", "KEY_TWO": "key-two"}
    async with server(recorder) as (_, port):
        with running_proxy(LOOKING.format(port=port), tmp_path, env=keys) as proxy:
            async with connect(("127.0.0.1", proxy.port)) as client:
                wanted = []
                for mount, key, body, rule in (
                    ("talk", "key-one", b'{"model":"cheap"}', "chat/rest"),
                    ("talk", "key-one", b'{"model":"dear"}', "chat/dear"),
                    ("talk", "key-one", b"1", "chat/short"),
                    ("talk", "key-two", b'{"model":"dear"}', "chat/dear"),
                    ("talk", "key-one", b'{"model":"cheap"}', "chat/rest"),
                    ("plain", "key-two", b"1", "plain/rest"),
                    ("plain", "key-one", b'{"model":"dear"}', "plain/rest"),
                    ("plain", "key-two", b'{"model":"dear","n":1}', "plain/rest"),
                ):
                    await client.send(
                        b"POST /%b/v1/a?b=c HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %b\r\nX-Own: %b\r\n"
                        b"Content-Length: %d\r\n\r\n%b" % (mount.encode(), key.encode(), b"v", len(body), body)
                    )
                    answer = await client.response()
                    assert answer.status == 200
                    sent = recorder.requests.pop()
                    assert sent.startswith(b"POST /v1/a?b=c HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)
                    assert sent.endswith(b"\r\n\r\n" + body)
                    assert sent.count(b"\r\nContent-Length: %d\r\n" % len(body)) == 1
                    assert b"key-" not in sent, "the proxy's own keys stay here"
                    wanted.append((answer.named[b"x-spendgate-request-id"].decode(), rule, key.replace("key-", "")))
                await client.send(b"POST /talk/v1/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer no\r\n\r\n")
                assert (await client.response()).status == 401
            booked = {entry["id"]: (entry["rule"], entry["caller"]) for entry in proxy.ledger("--last", "20")}
    assert [booked[call_id] for call_id, _, _ in wanted] == [(rule, caller) for _, rule, caller in wanted]
