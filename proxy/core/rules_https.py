"""Decide what rules.yaml says about HTTPS: which APIs are intercepted, and whom their own certificates must come from.

Finds Problems and makes the trusted values. Files are read by an argument, so that nothing here touches a disk.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from proxy.core.authority import Refusal, parse_host
from proxy.core.model import Trust
from proxy.core.rules_checks import Path, Plain, Problem, may_price_tunnel

ReadFile = Callable[[str], tuple[str | None, str]]
"""A file's name -> (its text, "") or (None, why it cannot be used)."""


def no_files(name: str) -> tuple[str | None, str]:
    """For rules that are judged without a disk."""
    return None, "no file can be read here"


def interception_problems(at: Path, api: Plain, scheme: str, host: str) -> list[Problem]:
    """What does not fit together in an API's `intercept` and `on_pinned`."""
    out: list[Problem] = []
    if not api["intercept"]:
        if api["on_pinned"] is not None:
            out.append(Problem((*at, "on_pinned"), "pinned_without", hint="pinned_needs"))
        return out
    if not api["hosts"] and scheme != "https":
        out.append(Problem((*at, "intercept"), "intercept_no_host", hint="give_hosts"))
    for number, text in enumerate(api["hosts"] or ()):
        name = text.rpartition(":")[0] if text.rpartition(":")[2].isdigit() else text
        if name.startswith("*.") and "." not in name[2:].strip("."):
            out.append(Problem((*at, "hosts", number), "intercept_wide", {"got": text}, "name_hosts"))
        elif isinstance(parse_host(name.removeprefix("*.").strip("[]")), Refusal):
            out.append(Problem((*at, "hosts", number), "bad_host", {"got": text[:60]}, "host_form"))
    if api["on_pinned"] == "tunnel" and not any(map(may_price_tunnel, api["prices"])):
        out.append(Problem((*at, "on_pinned"), "pinned_no_price", hint="price_tunnels"))
    return out


def trust(at: Path, api: Plain, scheme: str, read_file: ReadFile) -> tuple[Trust | None, list[Problem]]:
    """Whom the API's certificate must come from; None: the system's store decides alone."""
    file, pins = api["upstream_ca"], api["upstream_pin"] or []
    out: list[Problem] = []
    if (file is None and not pins) or (scheme != "https" and not api["intercept"]):
        out += [
            Problem((*at, kind), "trust_without_tls", {"got": kind}, "use_https")
            for kind in ("upstream_ca", "upstream_pin")
            if api[kind] is not None
        ]
        return None, out
    text: str | None = None
    if file is not None:
        text, why = read_file(file)
        if text is None:
            out.append(Problem((*at, "upstream_ca"), "bad_ca_file", {"got": file[:60], "why": why}, "ca_file_form"))
    for number, pin in enumerate(pins):
        if not _is_pin(pin):
            out.append(Problem((*at, "upstream_pin", number), "bad_pin", {"got": pin[:60]}, "pin_form"))
    return Trust(text, tuple(pins)), out


def _is_pin(text: str) -> bool:
    kind, _, digest = text.partition("/")
    try:
        return kind == "sha256" and len(base64.b64decode(digest, validate=True)) == 32
    except (binascii.Error, ValueError):
        return False
