"""spendgate: a request walks straight down one page, asks one question of Redis, and is always settled.

    accept → identify → match → estimate → ADMIT (one atomic Lua call) → forward + meter → SETTLE (one atomic Lua call)

core/    pure: values in, values out; knows no socket, no store, no clock
state/   Redis and nothing else: the scripts, the gate in front of them, the embedded store
data/    the request path: an HTTP server, the page, the way to the API and back
inprocess/  the same path for Python programs that call APIs without the proxy
admin/   the admin port
cli/     the command line
demo/    a paid-API simulator and a driver

`app.py` puts them together, `worker.py` is one worker, `settings.py` alone reads the environment, `rules_file.py` alone
reads YAML. docs/architecture.md has the whole picture; tests/test_imports.py keeps the walls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.inprocess.call import Call
    from proxy.inprocess.decorators import api_rate_limited, budget, budget_controlled_api
    from proxy.inprocess.errors import (
        BudgetExceededException,
        CircuitOpenException,
        ConfigurationError,
        NoRuleException,
        RateLimitedException,
        ServiceStoppedException,
        StoreUnavailableException,
        UnknownCallerException,
    )
    from proxy.inprocess.host import configure, flush
else:
    # Read when first asked for: the proxy itself, and `import proxy`, pay nothing for them.
    _HOMES = {
        "Call": "call",
        "api_rate_limited": "decorators",
        "budget": "decorators",
        "budget_controlled_api": "decorators",
        "BudgetExceededException": "errors",
        "CircuitOpenException": "errors",
        "ConfigurationError": "errors",
        "NoRuleException": "errors",
        "RateLimitedException": "errors",
        "ServiceStoppedException": "errors",
        "StoreUnavailableException": "errors",
        "UnknownCallerException": "errors",
        "configure": "host",
        "flush": "host",
    }

    def __getattr__(name):
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.inprocess.{home}"), name)
        return value


__all__ = [
    "BudgetExceededException",
    "Call",
    "CircuitOpenException",
    "ConfigurationError",
    "NoRuleException",
    "RateLimitedException",
    "ServiceStoppedException",
    "StoreUnavailableException",
    "UnknownCallerException",
    "api_rate_limited",
    "budget",
    "budget_controlled_api",
    "configure",
    "flush",
]
