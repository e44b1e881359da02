"""What the end of a call says about its API."""

from __future__ import annotations

import pytest

from proxy.core.outcome import End, Verdict, judge, judge_session


@pytest.mark.parametrize(
    ("end", "status", "verdict"),
    [
        (End.ANSWERED, 200, Verdict.SUCCESS),
        (End.ANSWERED, 304, Verdict.SUCCESS),
        (End.ANSWERED, 404, Verdict.SUCCESS),  # the API works: it was asked for something that it has not
        (End.ANSWERED, 429, Verdict.FAILURE),
        (End.ANSWERED, 500, Verdict.FAILURE),
        (End.ANSWERED, 503, Verdict.FAILURE),
        (End.CUT, 200, Verdict.FAILURE),
        (End.UNREACHABLE, None, Verdict.FAILURE),
        (End.TIMED_OUT, None, Verdict.FAILURE),
        (End.ABORTED, None, Verdict.EXCLUDED),  # the client went away before anything came
        (End.ABORTED, 200, Verdict.EXCLUDED),
        (End.ABORTED, 502, Verdict.FAILURE),  # it had failed already
        (End.ANSWERED, None, Verdict.EXCLUDED),
    ],
)
def test_only_what_the_api_does_counts(end: End, status: int | None, verdict: Verdict) -> None:
    assert judge(end, status) is verdict


@pytest.mark.parametrize(
    ("reason", "code", "broke", "closed", "verdict"),
    [
        ("closed", 1000, False, True, Verdict.SUCCESS),
        ("closed", 1005, False, False, Verdict.SUCCESS),
        ("closed", 1008, False, False, Verdict.SUCCESS),  # the API works: it refused what was said
        ("client_gone", None, False, True, Verdict.SUCCESS),  # it said good-bye, and did not wait for an answer
        ("stopped", 1001, False, False, Verdict.SUCCESS),  # ended from here, and the API answered that
        ("client_gone", None, False, False, Verdict.EXCLUDED),
        ("closed", None, False, False, Verdict.EXCLUDED),  # nobody knows who left first
        ("idle", None, False, False, Verdict.EXCLUDED),
        ("", None, False, False, Verdict.EXCLUDED),
        ("upstream_gone", None, False, False, Verdict.FAILURE),
        ("upstream_gone", None, False, True, Verdict.SUCCESS),
        ("closed", 1011, False, True, Verdict.FAILURE),
        ("closed", 1013, False, False, Verdict.FAILURE),
        ("stopped", None, True, False, Verdict.FAILURE),
    ],
)
def test_how_a_websocket_ended(reason: str, code: int | None, broke: bool, closed: bool, verdict: Verdict) -> None:
    assert judge_session(reason, api_code=code, api_broke_rules=broke, client_closed=closed) is verdict
