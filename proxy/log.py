"""How the process speaks to operators: dotted past-tense events with numbers as fields, never a secret.

One line a thing that happened; a request that simply succeeded is a ledger entry, not a log line (debug shows it).
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

# Fields that must never carry their value into a log, whoever passes them by mistake.
_SECRET_FIELDS = frozenset(
    {"authorization", "api_key", "key", "password", "secret", "token", "credentials", "redis_url"}
)


def _hide_secrets(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for field in event:
        if field.lower() in _SECRET_FIELDS:
            event[field] = "[hidden]"
    return event


def configure(log_format: str, level: str) -> None:
    """Send events to standard error, as JSON lines or as readable text (colours only on a terminal)."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.typing.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _hide_secrets,
            structlog.processors.format_exc_info if log_format == "json" else _keep,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),  # one write a line: workers share this file
        cache_logger_on_first_use=True,
    )
    # Libraries that use the standard logging speak only of trouble here.
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(message)s")


def configure_library() -> None:
    """Inside somebody else's program: events become records of the standard logging, logger "spendgate".

    What the program configured itself is left alone. Without any handler, Python shows warnings and errors.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _hide_secrets,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=lambda *_: logging.getLogger("spendgate"),
        cache_logger_on_first_use=False,
    )


def _keep(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event
