"""What the end of a call says about its API."""

from __future__ import annotations

import pytest

from proxy.core.outcome import End, Verdict, judge


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
