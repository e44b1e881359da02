"""Who may use the admin port, as compiled from rules.yaml's `admin`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a person or program may do; each role may do what the one before it may."""

    VIEWER = "viewer"  # look
    OPERATOR = "operator"  # and act: lift, stop, acknowledge, charge
    ADMIN = "admin"  # and decide about money: increase, bypass, approve

    def may(self, needed: Role) -> bool:
        return _RANK[self] >= _RANK[needed]


_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class Token:
    name: str
    role: Role
    value: str = field(repr=False)  # the secret, from the environment


@dataclass(frozen=True, slots=True)
class Admin:
    """Access to the admin port. tokens () = it serves loopback only, everybody as admin.

    second_approver_bp: an increase of at least this share of a budget's limit waits for a second person; None = never.
    """

    tokens: tuple[Token, ...] = ()
    second_approver_bp: int | None = None


ADMIN_OF_NOBODY = Admin()


def is_loopback(host: str) -> bool:
    """Whether a host (name or address, without port) means this machine and nothing else."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def safe_to_serve(host: str, admin: Admin) -> bool:
    """An address that other machines reach needs tokens."""
    return bool(admin.tokens) or is_loopback(host)
