"""Reads request targets and authorities (RFC 9112 §3.2, RFC 3986 §3.2) into one unmistakable meaning.

Decides where a request wants to go: a scheme, one clean host, one port, a path. Whatever two parsers could read in two
ways is refused rather than repaired: userinfo, backslashes, percent-encoded or non-ASCII hosts, IPv4 in octal,
hexadecimal, decimal or short form, IPv6 zones, odd ports. The caller compares and connects to exactly what comes out.
Also decides which addresses are not on the public internet. Must not know rules, sockets or resolvers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

import msgspec

DEFAULT_PORTS = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """A host in its one canonical form and a port.

    host: lower-case ASCII name without trailing dot, dotted-decimal IPv4, or compressed IPv6 without brackets.
    port: 1..65535, or None where none was written and no default was given.
    """

    host: str
    port: int | None

    @property
    def is_literal(self) -> bool:
        return ":" in self.host or self.host.rpartition(".")[2].isdigit()

    def text(self) -> str:
        """As written in a Host header: brackets around IPv6, the port only when there is one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a target cannot be understood. `code` names a sentence: "wire.<code>"."""

    code: str


class Target(msgspec.Struct, frozen=True, gc=False):
    """A request target, understood.

    form: "origin" | "absolute" | "authority" (CONNECT) | "asterisk" (OPTIONS *).
    scheme: "http" | "https" for absolute form, else None.
    authority: host and port of absolute and authority form (port always set), else None.
    path: path and query byte for byte, without fragment; "/" for an empty path; "*" for asterisk; "" for authority.
    """

    form: str
    path: str
    scheme: str | None = None
    authority: Authority | None = None


_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_AUTHORITY = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::(.*))?", re.DOTALL)
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_TARGET = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # visible ASCII without the backslash


def parse_host(text: str) -> str | Refusal:
    """The canonical form of a host without port; IPv6 comes without brackets here."""
    if _IPV6.fullmatch(text) and ":" in text:
        try:
            return IPv6Address(text).compressed
        except (AddressValueError, ValueError):
            return Refusal("bad_host")
    if len(text) > 254 or not _NAME.fullmatch(text):
        return Refusal("bad_host")
    name = text.removesuffix(".").lower()
    if len(name) > 253:
        return Refusal("bad_host")
    if _NUMBER.fullmatch(name.rpartition(".")[2]) and not _IPV4.fullmatch(name):
        return Refusal("ambiguous_address")  # resolvers read 127.1, 0177.0.0.1 and 2130706433 as addresses
    return name


@lru_cache(maxsize=1024)
def parse_authority(text: str, default_port: int | None = None) -> Authority | Refusal:
    """A Host value, or the authority of a target: `host`, `host:port`, `[v6]`, `[v6]:port`.

    default_port: used when no port is written; None keeps it None. An empty port (`host:`) is refused.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return Refusal("userinfo" if "@" in text else "bad_host")
    literal, name, port = found.groups()
    if "@" in text:
        return Refusal("userinfo")
    if literal is not None and ":" not in literal:
        return Refusal("bad_host")
    host = parse_host(literal if literal is not None else name)
    if isinstance(host, Refusal):
        return host
    if port is None:
        return Authority(host, default_port)
    if not _PORT.fullmatch(port) or int(port) > 65535:
        return Refusal("bad_port")
    return Authority(host, int(port))


def parse_target(method: str, target: str) -> Target | Refusal:
    """The request target of a request line, in whichever of the four forms its method allows (RFC 9112 §3.2).

    A fragment is no part of a target URI (RFC 9110 §7.1); a client that sends one gets it cut, so that what is
    matched against the rules is what the API receives.
    """
    if method == "CONNECT":
        authority = parse_authority(target)
        if isinstance(authority, Refusal):
            return authority
        if authority.port is None:
            return Refusal("bad_port")
        return Target("authority", "", None, authority)
    if not _TARGET.fullmatch(target):
        return Refusal("bad_target")
    if target[0] == "/":
        return Target("origin", target.partition("#")[0] if "#" in target else target)
    if target == "*":
        return Target("asterisk", "*") if method == "OPTIONS" else Refusal("bad_target")
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return Refusal("bad_target")
    scheme = found[1].lower()
    if scheme not in DEFAULT_PORTS:
        return Refusal("bad_scheme")
    authority = parse_authority(found[2], DEFAULT_PORTS[scheme])
    if isinstance(authority, Refusal):
        return authority
    path = found[3].partition("#")[0]
    if not path:
        path = "*" if method == "OPTIONS" else "/"  # RFC 9112 §3.2.4
    elif path[0] == "?":
        path = "/" + path
    return Target("absolute", path, scheme, authority)


# --- what is not the public internet -------------------------------------------------------------------------------

# Special-purpose registries (RFC 6890 and successors), and addresses where clouds serve instance metadata. Written out
# because the standard library's idea of "private" changed between Python releases.
_PRIVATE_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform address: public by number, private by meaning
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_PRIVATE_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa")


@lru_cache(maxsize=4096)
def is_private_address(address: str) -> bool:
    """Whether an IP address in text form is anything but a public unicast address.

    IPv6 that carries an IPv4 address (mapped, NAT64, 6to4) counts by what it carries. Anything unreadable is private.
    """
    try:
        v4 = IPv4Address(address)
    except (AddressValueError, ValueError):
        pass
    else:
        return any(v4 in network for network in _PRIVATE_V4)
    try:
        v6 = IPv6Address(address.partition("%")[0])
    except (AddressValueError, ValueError):
        return True
    if v6.ipv4_mapped is not None:
        return is_private_address(str(v6.ipv4_mapped))
    if v6 in _NAT64[0]:
        return is_private_address(str(IPv4Address(int(v6) & 0xFFFFFFFF)))
    if v6.sixtofour is not None:
        return is_private_address(str(v6.sixtofour))
    return v6 not in _GLOBAL_V6 or any(v6 in network for network in _SPECIAL_V6)


def is_private(host: str) -> bool:
    """Whether a canonical host is private by its own text: a private literal, or a name that is never public.

    Other names are private or not only by what they resolve to; that is checked when connecting.
    """
    if ":" in host or _IPV4.fullmatch(host):
        return is_private_address(host)
    return any(host == name or host.endswith("." + name) for name in _PRIVATE_NAMES) or "." not in host
