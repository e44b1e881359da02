"""Is a host likely to cost money by the call? By a maintained list (paid_hosts.json), and by its name where it says so.

Decides nothing about calls: a person who looks at `spendgate discover` does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

YES, PERHAPS, NO, UNKNOWN = "yes", "perhaps", "no", "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """likely: "yes" | "perhaps" | "no" | "unknown". why: key of a sentence, "cli.discover.why.<why>". name: of the API.
    catalog: the provider whose prices fit."""

    likely: str
    why: str
    name: str | None = None
    catalog: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    pattern: re.Pattern[str]
    verdict: Verdict


@lru_cache(maxsize=1)
def known() -> tuple[_Entry, ...]:
    """The list, exact names before patterns."""
    document = json.loads(resources.files("proxy.cli").joinpath("paid_hosts.json").read_text("utf-8"))
    found = []
    for group, likely in (("paid", YES), ("free", NO)):
        for entry in document[group]:
            pattern = re.compile(re.escape(entry["host"]).replace(r"\*", r"[a-z0-9.-]+"))
            found.append(
                (
                    "*" in entry["host"],
                    _Entry(pattern, Verdict(likely, entry["kind"], entry["name"], entry.get("catalog"))),
                )
            )
    return tuple(entry for _, entry in sorted(found, key=lambda item: item[0]))


def likely(host: str) -> Verdict:
    """Of a lower-case name without port."""
    for entry in known():
        if entry.pattern.fullmatch(host):
            return entry.verdict
    if host == "api" or host.startswith(("api.", "api-")) or ".api." in host:
        return Verdict(PERHAPS, "named_api")
    return Verdict(UNKNOWN, "not_listed")
