"""Decide which hosts the rules ask to intercept, and what a certificate authority for just those may sign.

Pure: rules in, names out. Knows no certificate and no socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from proxy.core.match import split_host
from proxy.core.model import Api, RuleSet


@dataclass(frozen=True, slots=True)
class Scope:
    """What our authority may sign, and nothing else. names: a name stands for all names below it too (RFC 5280
    §4.2.1.10). addresses: single IP addresses. Both sorted, without what another entry covers."""

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.addresses)

    @property
    def hosts(self) -> tuple[str, ...]:
        return (*self.names, *self.addresses)


def hosts(api: Api) -> tuple[str, ...]:
    """Names of an intercepted API as the rules write them: exact, or "*.example.com"; () for any other API."""
    if not api.intercept:
        return ()
    named = [split_host(text)[0] for text in api.hosts]
    if api.scheme == "https":
        named.append(api.host)
    return tuple(dict.fromkeys(named))


def scope(rules: RuleSet) -> Scope:
    """What the authority of these rules must be able to sign; an empty one: nothing is intercepted."""
    names: set[str] = set()
    addresses: set[str] = set()
    for api in rules.apis:
        for host in hosts(api):
            try:
                addresses.add(str(ip_address(host)))
            except ValueError:
                names.add(host.removeprefix("*."))
    wide = {name for name in names if any(name.endswith(f".{other}") for other in names)}
    return Scope(tuple(sorted(names - wide)), tuple(sorted(addresses)))
