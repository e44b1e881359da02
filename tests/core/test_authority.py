"""One meaning or none: hosts, authorities and request targets."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.authority import (
    Authority,
    Refusal,
    Target,
    is_private,
    is_private_address,
    parse_authority,
    parse_host,
    parse_target,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("api.openai.com", "api.openai.com", None),
        ("API.OpenAI.com:443", "api.openai.com", 443),
        ("api.openai.com.", "api.openai.com", None),
        ("my_service:8080", "my_service", 8080),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("127.0.0.1.", "127.0.0.1", None),
        ("[::1]:6379", "::1", 6379),
        ("[2001:DB8:0:0::1]", "2001:db8::1", None),
        ("[::ffff:10.0.0.1]", "::ffff:a00:1", None),
        ("1password.com", "1password.com", None),
        ("a.b.c.d.e:65535", "a.b.c.d.e", 65535),
    ],
)
def test_clean_authorities(text: str, host: str, port: int | None) -> None:
    found = parse_authority(text)
    assert isinstance(found, Authority)
    assert found.host == host or ip_address(found.host) == ip_address(host)
    assert found.port == port


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((text, "ambiguous_address") for text in ("2130706433", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1")),
        *((text, "ambiguous_address") for text in ("0o177.0.0.1", "0x7f000001", "1.2.3.4.5", "256.1.1.1", "1.2.3.04")),
        *((text, "ambiguous_address") for text in ("00.0.0.0", "a.1", "example.0x", "3232235777.")),
        *((text, "userinfo") for text in ("user@host", "user:pw@host:80", "a@b@c", "@host", "host@")),
        *((text, "bad_port") for text in ("a:0", "a:65536", "a:", "a:+80", "a:080", "a:8_0", "a:80:80", "a:８０")),
        *(
            (text, "bad_host")
            for text in ("", ".", "a..b", ".a", "-a", "a-", "a b", "a%41", "a\\b", "a/b", "a?b", "a#b")
        ),
        *((text, "bad_host") for text in ("[::1", "::1]", "[]", "[a]", "[1.2.3.4]", "[::1%eth0]", "[::1]x", "[v1.a]")),
        *((text, "bad_host") for text in ("①②⑦.⓪.⓪.①", "exämple.com", "a\u3002b", "a" * 64, "a." * 127 + "a")),
        *((text, "bad_host") for text in ("127.0.0.1\n", "\ta", "a\x00b", "localhost\r\nX: y", "*.a", "a,b", "a;b")),
    ],
)
def test_authorities_that_parsers_disagree_about(text: str, code: str) -> None:
    found = parse_authority(text)
    assert isinstance(found, Refusal), found
    assert found.code in (code, "bad_host", "bad_port")


@given(st.text(max_size=40))
def test_what_is_accepted_is_canonical(text: str) -> None:
    found = parse_authority(text)
    if isinstance(found, Authority):
        assert found.host.isascii()
        assert found.host == found.host.lower()
        assert not set(found.host) & set("@/\\%?# \t\r\n[]")
        assert parse_authority(found.text()) == found
        assert parse_host(found.host) == found.host


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/a?b", Target("origin", "/a?b")),
        ("GET", "//a/../b", Target("origin", "//a/../b")),
        ("GET", "/a?b#c", Target("origin", "/a?b")),
        ("GET", "/a#?b", Target("origin", "/a")),
        ("OPTIONS", "*", Target("asterisk", "*")),
        ("GET", "http://a.example", Target("absolute", "/", "http", Authority("a.example", 80))),
        ("GET", "HTTPS://A.example:8443/x?y", Target("absolute", "/x?y", "https", Authority("a.example", 8443))),
        ("GET", "http://a.example?y", Target("absolute", "/?y", "http", Authority("a.example", 80))),
        ("GET", "http://a.example#f", Target("absolute", "/", "http", Authority("a.example", 80))),
        ("OPTIONS", "http://a.example", Target("absolute", "*", "http", Authority("a.example", 80))),
        ("GET", "http://a.example/http://b/", Target("absolute", "/http://b/", "http", Authority("a.example", 80))),
        ("CONNECT", "a.example:443", Target("authority", "", None, Authority("a.example", 443))),
        ("CONNECT", "[::1]:443", Target("authority", "", None, Authority("::1", 443))),
    ],
)
def test_targets(method: str, target: str, expected: Target) -> None:
    assert parse_target(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("GET", "*", "bad_target"),
        ("GET", "a.example:80", "bad_target"),
        ("GET", "http:/a", "bad_target"),
        ("GET", "http:a", "bad_target"),
        ("GET", "://a", "bad_target"),
        ("GET", "/a b", "bad_target"),
        ("GET", "/a\\b", "bad_target"),
        ("GET", "http://a.example\\@b.example/", "bad_target"),
        ("GET", "/é", "bad_target"),
        ("GET", "file:///etc/passwd", "bad_scheme"),
        ("GET", "gopher://a/_x", "bad_scheme"),
        ("GET", "http:///path", "bad_host"),
        ("GET", "http://a.example@b.example/", "userinfo"),
        ("GET", "http://a.example:0/", "bad_port"),
        ("CONNECT", "a.example", "bad_port"),
        ("CONNECT", "u@a.example:443", "userinfo"),
        ("CONNECT", "http://a.example:443", "bad_port"),
        ("CONNECT", "/a", "bad_host"),
        ("CONNECT", "*", "bad_host"),
    ],
)
def test_targets_that_are_refused(method: str, target: str, code: str) -> None:
    assert parse_target(method, target) == Refusal(code)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.1", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.1"),
        *("203.0.113.1", "224.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1", "fe80::1", "fd00:ec2::254"),
        *("fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("2001:db8::1", "2001::1", "fec0::1", "::127.0.0.1", "fe80::1%eth0", "not an address", "127.1"),
    ],
)
def test_addresses_that_are_not_the_internet(address: str) -> None:
    assert is_private_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ],
)
def test_addresses_that_are_the_internet(address: str) -> None:
    assert not is_private_address(address)


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("metadata.google.internal", True),
        ("printer.local", True),
        ("redis", True),
        ("10.1.2.3", True),
        ("::1", True),
        ("api.openai.com", False),
        ("localhost.example.com", False),
        ("1.1.1.1", False),
    ],
)
def test_hosts_that_are_private_by_their_own_text(host: str, private: bool) -> None:
    assert is_private(host) is private


def test_every_recorded_ssrf_target(material: Path) -> None:
    """Each is refused outright, private by its text, or means exactly the host that an allow-list is asked for."""
    allowed = {"allowed.example"}
    for line in (material / "http" / "ssrf.open.jsonl").read_text().splitlines():
        case = json.loads(line)
        found = parse_target("GET", case["target"])
        if isinstance(found, Refusal) or found.authority is None:
            continue
        host = found.authority.host
        assert host not in allowed, case
        public_name = not is_private(host) and case["cls"] in ("dns", "parser", "allow-list")
        assert is_private(host) or public_name, case
