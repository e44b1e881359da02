"""Decides what the end of a call says about its API: it worked, it failed, or nothing can be said.

Only what is the API's doing counts: it could not be reached, did not answer in time, broke off, or answered with a
status that says so (429 and 5xx). A client that went away, a request that the API rightly refused (4xx), an answer that
we ended ourselves are no failures; the first and the last are no successes either. No clock, no I/O.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    EXCLUDED = "excluded"  # says nothing of the API


class End(StrEnum):
    """How a call came to its end."""

    ANSWERED = "answered"  # the API's answer came, and came to its end
    CUT = "cut"  # the API broke its answer off
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    ABORTED = "aborted"  # the client went away, or we ended it


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What circuit breakers and everybody who calls the same API learn from one call.

    took_ms: until the answer began, or until it was given up. pause_until_ms: the API asked for a pause until then.
    earlier: verdict and took_ms of the attempts before the last, where the call was made again.
    """

    verdict: Verdict = Verdict.EXCLUDED
    took_ms: int = 0
    pause_until_ms: int | None = None
    earlier: tuple[tuple[Verdict, int], ...] = ()


UNKNOWN = Outcome()

_ANSWERED, _SUCCESS = End.ANSWERED, Verdict.SUCCESS  # what most calls come to

# Close codes by which a server says that the fault is its own (RFC 6455 §7.4.1, and IANA's registry).
_SERVER_FAULTS = frozenset((1011, 1012, 1013, 1014))


def judge(end: End, status: int | None) -> Verdict:
    """status: of the API's answer; None: no answer began."""
    if end is _ANSWERED and status is not None and status < 429:
        return _SUCCESS
    if end in (End.CUT, End.UNREACHABLE, End.TIMED_OUT):
        return Verdict.FAILURE
    if status is not None and (status == 429 or status >= 500):
        return Verdict.FAILURE
    if end is End.ABORTED or status is None:
        return Verdict.EXCLUDED
    return Verdict.SUCCESS


def judge_session(reason: str, *, api_code: int | None, api_broke_rules: bool, client_closed: bool) -> Verdict:
    """What the end of a WebSocket says, whose handshake worked.

    reason: of TunnelEnd; "" = cut from here. api_code: of the API's close frame, None = it sent none. client_closed:
    the client sent one.
    """
    if api_broke_rules or api_code in _SERVER_FAULTS:
        return Verdict.FAILURE
    if api_code is not None or client_closed:
        return Verdict.SUCCESS
    return Verdict.FAILURE if reason == "upstream_gone" else Verdict.EXCLUDED
