"""Which environment variables send a program's paid calls through the proxy.

Pure but for the place of a file of ours: rules, an address and an environment in, changed variables out. Only variables
that the SDKs' own documentation names. Amazon's AWS_ENDPOINT_URL_* is left out on purpose: its requests are signed for
the real host name, and a proxy that changes the host makes the signature wrong (interception does not). Mistral's and
DeepSeek's clients read no such variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from proxy.core import match
from proxy.core.model import Api, Caller, Outbound, RuleSet

PLACEHOLDER_KEY = "kept-by-spendgate"  # an SDK wants some key; the proxy replaces it with the one from the rules
PRELOAD = Path(__file__).resolve().parent / "preload.cjs"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Sdk:
    """An SDK's variables: the base URL with the path that it expects there, and the API key's names."""

    host: str  # the API's own host, or ".suffix" for any host below it
    base_url: str
    path: str
    keys: tuple[str, ...]


SDKS = (
    Sdk("api.openai.com", "OPENAI_BASE_URL", "/v1", ("OPENAI_API_KEY",)),
    Sdk("api.anthropic.com", "ANTHROPIC_BASE_URL", "", ("ANTHROPIC_API_KEY",)),
    Sdk("generativelanguage.googleapis.com", "GOOGLE_GEMINI_BASE_URL", "", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    Sdk(".openai.azure.com", "AZURE_OPENAI_ENDPOINT", "", ("AZURE_OPENAI_API_KEY",)),
    Sdk("api.groq.com", "GROQ_BASE_URL", "", ("GROQ_API_KEY",)),
    Sdk("api.cerebras.ai", "CEREBRAS_BASE_URL", "", ("CEREBRAS_API_KEY",)),
    Sdk("api.together.xyz", "TOGETHER_BASE_URL", "/v1", ("TOGETHER_API_KEY",)),
    Sdk("api.cohere.com", "CO_API_URL", "", ("CO_API_KEY",)),
)


@dataclass(frozen=True, slots=True)
class Change:
    """What `run` does to the child's environment. kept: (variable, value) pairs that name a place without a rule."""

    variables: Mapping[str, str]
    kept: tuple[tuple[str, str], ...] = ()
    tunnels: bool = False  # HTTPS_PROXY is set


def variables(rules: RuleSet, root: str, environ: Mapping[str, str], caller: Caller | None = None) -> Change:
    """The child's variables. root: "http://127.0.0.1:8080". caller: show this virtual key instead of the real ones."""
    changed: dict[str, str] = {}
    kept: list[tuple[str, str]] = []
    for sdk in SDKS:
        present = environ.get(sdk.base_url)
        if present:
            moved = _through(rules, root, present)
            if moved is None:
                kept.append((sdk.base_url, present))
            else:
                changed[sdk.base_url] = moved
            continue
        api = next((api for api in rules.apis if _serves(api, sdk.host)), None)
        if api is None:
            continue
        changed[sdk.base_url] = f"{root}/{api.mount}{sdk.path}"
        if caller is not None and caller.key:
            changed.update(dict.fromkeys(sdk.keys, caller.key))
        elif api.credentials and not any(environ.get(name) for name in sdk.keys):
            changed[sdk.keys[0]] = PLACEHOLDER_KEY
    tunnels = any(api.intercept or allows_tunnel(api) for api in rules.apis)
    proxy = root if caller is None or not caller.key else root.replace("://", f"://{caller.name}:{caller.key}@", 1)
    for name in ("HTTP_PROXY", "HTTPS_PROXY") if tunnels else ("HTTP_PROXY",):
        changed[name] = changed[name.lower()] = proxy
    no_proxy = _without_loopback_twice(environ.get("NO_PROXY") or environ.get("no_proxy") or "")
    changed["NO_PROXY"] = changed["no_proxy"] = no_proxy
    changed["NODE_USE_ENV_PROXY"] = "1"  # Node 22.21, 24 and later then honour HTTP_PROXY in fetch
    changed["NODE_OPTIONS"] = _with_preload(environ.get("NODE_OPTIONS") or "")  # and before, ours does
    changed["SPENDGATE_URL"] = root
    return Change(changed, tuple(kept), tunnels)


def _with_preload(present: str) -> str:
    option = f'--require="{PRELOAD}"' if " " in str(PRELOAD) else f"--require={PRELOAD}"
    return present if str(PRELOAD) in present else f"{present} {option}".strip()


def allows_tunnel(api: Api) -> bool:
    """Whether a rule prices a CONNECT to this API, so that the proxy lets it pass."""
    tunnel = Outbound(method="CONNECT", scheme="connect", host=api.host, port=api.port, path="")
    return match.match(api, tunnel) is not None


def _serves(api: Api, host: str) -> bool:
    names = {api.host, *api.hosts}
    return any(name.endswith(host) for name in names) if host.startswith(".") else host in names


def _through(rules: RuleSet, root: str, present: str) -> str | None:
    """The proxy's URL for a base URL that the person has chosen; None when no rule covers it."""
    if present.rstrip("/").startswith(root):
        return present
    parts = urlsplit(present)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    api = match.destination_forward(rules, parts.scheme, parts.hostname, port)
    if api is None:
        return None
    return f"{root}/{api.mount}{parts.path.removeprefix(api.base_path)}"


def _without_loopback_twice(present: str) -> str:
    names = [name.strip() for name in present.split(",") if name.strip()]
    return ",".join([*names, *(name for name in LOOPBACK if name not in names)])
