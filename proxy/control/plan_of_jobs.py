"""Everything that the leader does again and again: one line each."""

from __future__ import annotations

from proxy.control import advising, fixed, forecasting, services
from proxy.control.delivery import deliver
from proxy.control.jobs import Job
from proxy.control.watch import watch

JOBS: list[Job] = [
    Job("forecast", forecasting.EVERY_S, forecasting.refresh),
    Job("watch", 1.0, watch),
    Job("deliver", 1.0, deliver),
    advising.JOB,
    services.JOB,
    fixed.JOB,
]
