"""Every raw case of the recorded material, in both modes: what the client sees, and what really reached the API."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.data.plainproxy import PlainProxy
from tests.data.rawsockets import Recorder, connect, server

STRICT = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e]+ HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*\r\n"
)
STRIPPED = (b"connection", b"te", b"keep-alive", b"upgrade", b"x-custom", b"trailer", b"proxy-connection")


async def converse(case: dict[str, Any], raw: bytes, mode: str) -> tuple[list[int], bool, list[bytes]]:
    """(final statuses, whether the proxy closed, requests that reached the upstream)."""
    recorder = Recorder()
    async with server(recorder) as upstream, PlainProxy(*upstream) as proxy:
        if mode == "forward":
            host = f"{upstream[0]}:{upstream[1]}"
            target = f"http://{host}/v1/x"
        else:
            host = f"{proxy.address[0]}:{proxy.address[1]}"
            target = "/openai/v1/chat/completions"
        raw = raw.replace(b"{{TARGET}}", target.encode())
        raw = raw.replace(b"{{HOSTNAME}}", host.rpartition(":")[0].encode()).replace(b"{{HOST}}", host.encode())
        received, closed = b"", False
        async with connect(proxy.address) as client:
            try:
                await client.send(raw)
                if case.get("half_close"):
                    client.half_close()
                while True:
                    async with asyncio.timeout(0.3 if received else 1.5):
                        data = await client.reader.read(65536)
                    if not data:
                        closed = True
                        break
                    received += data
            except TimeoutError:
                pass
            except ConnectionError:
                closed = True
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", received)]
        return [status for status in statuses if status >= 200], closed, recorder.requests


def judge(case: dict[str, Any], final: list[int], closed: bool, requests: list[bytes]) -> str | None:
    """What is wrong with the outcome, or None."""
    fine = [status for status in final if status < 300]
    expected = case["expected"]
    for request in requests:
        head = request[: request.index(b"\r\n\r\n") + 4]
        if not STRICT.fullmatch(head):
            return f"reached the API in a form that is not strict: {head!r}"
        names = [name.lower() for name in re.findall(rb"\r\n([^:\r\n]+):", head)]
        if expected == "strip" and set(names) & set(STRIPPED):
            return f"not stripped: {names}"
        if names.count(b"host") != 1 or names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
            return f"ambiguous at the API: {names}"
    if b"smuggled" in b"".join(request.split(b"\r\n")[0] for request in requests):
        return "smuggled"
    if expected == "reject" and (fine or not (final or closed) or requests):
        return "was not rejected"
    if expected == "safe" and (len(fine) > 1 or len(requests) > 1):
        return "was forwarded more than once"
    if expected == "accept" and not fine:
        return "was not accepted"
    if expected in ("either", "strip") and not (final or closed):
        return "got no clean answer"
    return None


@pytest.mark.parametrize("mode", ["reverse", "forward"])
async def test_every_recorded_case(material: Path, mode: str) -> None:
    folder = material / "http"
    cases = [json.loads(line) for line in (folder / "cases.open.jsonl").read_text().splitlines()]
    cases = [case for case in cases if mode == "forward" or case.get("mode") != "forward"]
    together = asyncio.Semaphore(30)

    async def run(case: dict[str, Any]) -> str | None:
        async with together:
            outcome = await converse(case, (folder / case["file"]).read_bytes(), mode)
        problem = judge(case, *outcome)
        return problem and f"{case['id']} {case['level']} {case['name']}: {problem} {outcome[0]}"

    problems = [problem for problem in await asyncio.gather(*map(run, cases)) if problem]
    assert problems == []


P = b"POST @ HTTP/1.1\r\nHost: h\r\n"
CLASSES = [
    (P + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "length_and_coding"),
    (P + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "several_codings"),
    (P + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", "unknown_coding"),
    (P + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "unknown_coding"),
    (P + b"Transfer-Encoding:\r\n\r\n", "unknown_coding"),
    (P + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", "control_character"),
    (P + b"Transfer_Encoding: chunked\r\n\r\n", "framing_lookalike"),
    (P + b"Content--Length: 4\r\n\r\n", "framing_lookalike"),
    (b"POST @ HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "coding_in_http10"),
    (P + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "several_lengths"),
    (P + b"Content-Length: 1, 1\r\n\r\nx", "bad_length"),
    (P + b"Content-Length: +1\r\n\r\nx", "bad_length"),
    (P + b"Content-Length: 0x1\r\n\r\nx", "bad_length"),
    (P + b"Content-Length: \xd9\xa1\r\n\r\nx", "bad_length"),
    (P + b"Content-Length:\r\n\r\n", "bad_length"),
    (P + b"Content-Length : 1\r\n\r\nx", "space_before_colon"),
    (P + b"X: a\r\n Content-Length: 1\r\n\r\nx", "folded_header"),
    (b"GET @ HTTP/1.1\r\n Host: h\r\n\r\n", "folded_header"),
    (b"GET @ HTTP/1.1\r\nHost: h\r\nX: a\nY: b\r\n\r\n", "bare_line_break"),
    (b"GET @ HTTP/1.1\r\nHost: h\r\nX: a\rY: b\r\n\r\n", "bare_line_break"),
    (b"GET @ HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", "control_character"),
    (b"GET @ HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", "bad_header"),
    (b"GET @ HTTP/1.1\r\nHost: h\r\nX@Y: x\r\n\r\n", "bad_header"),
    (b"GET @ HTTP/1.1\r\nHost: h\r\nNoColon\r\n\r\n", "bad_header"),
    (b"GET @ HTTP/1.1\r\n\r\n", "no_host"),
    (b"GET @ HTTP/1.1\r\nHost:\r\n\r\n", "bad_host_header"),
    (b"GET @ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "several_hosts"),
    (b"GET @ HTTP/1.1\r\nHost: a b\r\n\r\n", "bad_host_header"),
    (b"GET @ HTTP/1.1\r\nHost: a@b\r\n\r\n", "bad_host_header"),
    (b"GET @ HTTP/1.1\r\nHost: a/b\r\n\r\n", "bad_host_header"),
    (b"GET @ HTTP/1.1\r\nHost: a:99999\r\n\r\n", "bad_host_header"),
    (b"GET @ HTTP/1.1\r\nHost: a, b\r\n\r\n", "bad_host_header"),
    (b"GET  @ HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
    (b"GET @ HTTP/1.1 \r\nHost: h\r\n\r\n", "bad_request_line"),
    (b"GET @\tHTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
    (b"GET @\r\nHost: h\r\n\r\n", "bad_request_line"),
    (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
    (b"G(T @ HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
    (b"GET @ http/1.1\r\nHost: h\r\n\r\n", "bad_request_line"),
    (b"GET @ HTTP/1.10\r\nHost: h\r\n\r\n", "bad_request_line"),
    (b"GET @ HTTP/3.0\r\nHost: h\r\n\r\n", "http_version"),
    (b"GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
    (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
    (b"GET a.example:80 HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"),
    (b"GET ftp://a.example/ HTTP/1.1\r\nHost: h\r\n\r\n", "bad_scheme"),
    (b"GET http://u:p@a.example/ HTTP/1.1\r\nHost: h\r\n\r\n", "userinfo"),
    (b"CONNECT a.example HTTP/1.1\r\nHost: h\r\n\r\n", "bad_port"),
    (b"CONNECT a.example:443 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "body_not_allowed"),
    (b"TRACE @ HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\n\r\n", "trace"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "code"), CLASSES, ids=[f"{i}-{code}" for i, (_, code) in enumerate(CLASSES)])
@pytest.mark.parametrize("slowly", [False, True])
async def test_what_two_parsers_could_read_differently_never_reaches_the_api(
    raw: bytes, code: str, slowly: bool
) -> None:
    recorder = Recorder()
    async with server(recorder) as upstream, PlainProxy(*upstream) as proxy, connect(proxy.address) as client:
        raw = raw.replace(b"@ ", b"/v1/x ", 1).replace(b"@\t", b"/v1/x\t", 1).replace(b"@\r", b"/v1/x\r", 1)
        if slowly:
            await client.trickle(raw)
        else:
            await client.send(raw + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        response = await client.response()
        assert 400 <= response.status < 600
        assert response.body.split()[1].decode() == code
        await client.rest()
    assert recorder.requests == []
