"""What the process was told from outside: environment and flags, read once, frozen.

The only reader of `os.environ`. Rules about money live in rules.yaml, never here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from proxy.core.text import say

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_ADMIN = "127.0.0.1:8081"
DEFAULT_RULES = "rules.yaml"
DEFAULT_LEASE_S = 30.0
LOCAL_DATA = Path(".spendgate")
DEFAULT_DRAIN_S = 20.0


class SettingsError(ValueError):
    """A flag or variable has an unusable value. `name` is the flag or variable, `remedy()` says what would be right."""

    def __init__(self, name: str, value: str, key: str, **values: object) -> None:
        self.name = name
        self.value = value
        self._key = key
        self._values = values
        super().__init__(f"{name}={value!r}: {self.remedy('en')}")

    def remedy(self, lang: str) -> str:
        """One sentence for a person, in "en" or "ko"."""
        return say(f"settings.{self._key}", lang, **self._values)


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen on. Port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """One proxy's outside settings. `redis_url` None means the embedded store in `data`."""

    rules: Path
    listen: Address
    admin: Address
    data: Path
    redis_url: str | None = field(default=None, repr=False)  # may hold a password
    store_tcp_port: int | None = None  # embedded store also on loopback TCP, only when asked
    tenant: str = "main"
    workers: int = 1
    log_format: str = "console"  # "console" | "json"
    log_level: str = "info"
    lease_s: float = DEFAULT_LEASE_S
    drain_s: float = DEFAULT_DRAIN_S
    language: str = "en"
    debug: bool = False

    def with_listen(self, listen: Address) -> Settings:
        """The same settings on another address."""
        return replace(self, listen=listen)


def environ() -> Mapping[str, str]:
    """The process environment, for the few places that hand it on (credentials in rules.yaml, child processes)."""
    return os.environ


def language(env: Mapping[str, str], asked: str | None = None) -> str:
    """Language of texts for people: asked, else SPENDGATE_LANG, else the locale's. "ko" or "en"."""
    for value in (asked, env.get("SPENDGATE_LANG"), env.get("LC_ALL"), env.get("LC_MESSAGES"), env.get("LANG")):
        if value:
            return "ko" if value.lower().startswith("ko") else "en"
    return "en"


def caller(env: Mapping[str, str]) -> str | None:
    """Who a program that calls APIs without the proxy is to the rules, where it does not say so itself."""
    return env.get("SPENDGATE_CALLER") or None


def default_data(env: Mapping[str, str]) -> Path:
    """Where the embedded store lives when nobody says.

    ./.spendgate where it exists, as `make run` makes it, so that every command in a project finds the project's own
    store; else $XDG_DATA_HOME/spendgate or ~/.local/share/spendgate.
    """
    if LOCAL_DATA.is_dir():
        return LOCAL_DATA
    base = env.get("XDG_DATA_HOME")
    if base:
        return Path(base) / "spendgate"
    home = env.get("HOME")
    return Path(home) / ".local" / "share" / "spendgate" if home else LOCAL_DATA


def address(name: str, text: str) -> Address:
    """HOST:PORT, [IPv6]:PORT or :PORT. Raises SettingsError."""
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        raise SettingsError(name, text, "port") from None
    if port is None or parts.username is not None or parts.path or parts.query:
        raise SettingsError(name, text, "address")
    return Address(parts.hostname or "127.0.0.1", port)


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise SettingsError(name, text, "number", low=f"{low:g}", high=f"{high:g}")
    return value


def _one_of(name: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise SettingsError(name, text, "one_of", allowed=", ".join(allowed))
    return text


def load(env: Mapping[str, str] | None = None, **flags: object) -> Settings:
    """Settings from flags (None = not given), then SPENDGATE_* variables, then defaults. Raises SettingsError."""
    env = environ() if env is None else env

    def pick(flag: str, *variables: str, default: str = "") -> tuple[str, str]:
        value = flags.get(flag)
        if value is not None and value != "":
            return f"--{flag.replace('_', '-')}", str(value)
        for variable in variables:
            if env.get(variable):
                return variable, env[variable]
        return variables[0], default

    redis_name, redis_url = pick("redis", "SPENDGATE_REDIS", "REDIS_URL")
    if redis_url and urlsplit(redis_url).scheme not in ("redis", "rediss", "unix"):
        shown = redis_url.split("@")[-1]
        raise SettingsError(redis_name, shown, "redis")
    tcp_name, tcp_port = pick("store_tcp_port", "SPENDGATE_STORE_TCP_PORT")
    _, rules = pick("rules", "SPENDGATE_RULES", default=DEFAULT_RULES)
    _, data = pick("data", "SPENDGATE_DATA", default=str(default_data(env)))
    tenant_name, tenant = pick("tenant", "SPENDGATE_TENANT", default="main")
    if not tenant.replace("-", "").replace("_", "").isalnum():
        raise SettingsError(tenant_name, tenant, "tenant")
    return Settings(
        rules=Path(rules),
        listen=address(*pick("listen", "SPENDGATE_LISTEN", default=DEFAULT_LISTEN)),
        admin=address(*pick("admin", "SPENDGATE_ADMIN", default=DEFAULT_ADMIN)),
        data=Path(data).expanduser(),
        redis_url=redis_url or None,
        store_tcp_port=int(_number(tcp_name, tcp_port, 1, 65535)) if tcp_port else None,
        tenant=tenant,
        workers=int(_number(*pick("workers", "SPENDGATE_WORKERS", default="1"), 1, 256)),
        log_format=_one_of(*pick("log_format", "SPENDGATE_LOG_FORMAT", default="console"), ("console", "json")),
        log_level=_one_of(
            *pick("log_level", "SPENDGATE_LOG_LEVEL", default="info"), ("debug", "info", "warning", "error")
        ),
        lease_s=_number(*pick("lease", "SPENDGATE_LEASE", default=str(DEFAULT_LEASE_S)), 1, 3600),
        drain_s=_number(*pick("drain", "SPENDGATE_DRAIN", default=str(DEFAULT_DRAIN_S)), 0, 3600),
        language=language(env, str(flags["lang"]) if flags.get("lang") else None),
        debug=env.get("SPENDGATE_DEBUG", "") not in ("", "0"),
    )
