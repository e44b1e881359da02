"""Everything that the leader does again and again: one line each."""

from __future__ import annotations

from proxy.control import forecasting
from proxy.control.jobs import Job

JOBS: list[Job] = [
    Job("forecast", forecasting.EVERY_S, forecasting.refresh),
]
