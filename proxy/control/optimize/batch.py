"""Many calls a minute from one caller: nobody waits for each, and providers take them in batches at half the price.

The change lets the batch's own requests pass (its bill comes later, as an outside cost); a limit keeps the saving.
"""

from __future__ import annotations

from proxy.control.optimize.change import cap, name
from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, label

FEWEST = 100
# Where each provider takes batches: https://platform.openai.com/docs/guides/batch and its kin.
ENDPOINTS = {
    "openai": ("/v1/batches*", "/v1/files*"),
    "anthropic": ("/v1/messages/batches*",),
    "google": ("/v1beta/models/*:batchGenerateContent", "/v1beta/batches*"),
    "groq": ("/openai/v1/batches*", "/openai/v1/files*"),
    "mistral": ("/v1/batch/jobs*", "/v1/files*"),
}


def find(facts: Facts) -> list[Finding]:
    found = []
    for where, group in facts.groups.items():
        endpoints = ENDPOINTS.get(facts.catalog_of(where) or "")
        if endpoints is None or group.burst < FEWEST or group.burst_cost <= 0:
            continue
        saving = facts.monthly(group.burst_cost // 2)
        paths = ", ".join(f'"{path}"' for path in endpoints)
        change = (
            f"# under the API {where[0]}, before the rule {where[1]}\n"
            f"- {{name: {name(where, 'batches')}, match: {{path: [{paths}]}}, free: true}}\n"
            "# at the top\n" + cap(facts, "batch", where, saving)
        )
        evidence: dict[str, str | int] = {
            "burst": group.burst,
            "calls": group.calls,
            "endpoint": endpoints[0].rstrip("*"),
            "about": label(where),
        }
        found.append(Finding("batch", label(where), {where: saving}, 3, evidence, change))
    return found
