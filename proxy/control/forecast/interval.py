"""How wide the answer is: from how wrong the blend itself was at the past cuts, and from an expectation beforehand.

No distribution is assumed (split conformal prediction: the quantile of past absolute errors, Lei et al. 2018). The past
errors of one series are few and dependent, so they are pooled with what errors usually look like for a series that
scatters from day to day as this one does; with a short history that expectation is all there is.
"""

from __future__ import annotations

import numpy as np

from proxy.control.forecast.ensemble import HALF_LIFE_DAYS, Past, blend
from proxy.control.forecast.models import Task
from proxy.control.forecast.series import Values

LEVELS = (0.80, 0.95)
WIDEN = {0.80: 1.05, 0.95: 1.2}  # the blend is weighed on the same cuts that it is judged by
EXPECTED = {0.80: 1.25, 0.95: 2.6}  # half widths of the expectation, in scatters
EXPECTED_CUTS = 8.0  # how many cuts of its own outweigh the expectation by half
GROWTH = (
    0.95  # errors of sums grow with the days ahead to this power: days err together (1), hardly by themselves (0.5)
)
SCATTER_DAYS = 28
YOUTH = 6.0  # days: how much a level of few days widens the expectation


def half_widths(past: Past, weight: Values, task: Task, settled_days: int) -> dict[float, float]:
    """Half the width of the interval of the sum of the days ahead, by level.

    settled_days: how long the series has been at its level; a young level is known badly.
    """
    expected = scatter(task) * (1 + YOUTH / min(settled_days, SCATTER_DAYS))
    if not len(past.truth):
        return {level: EXPECTED[level] * expected for level in LEVELS}
    errors = np.abs(blend(past.guesses, weight) - past.truth) * (task.days / past.days) ** GROWTH
    recent = 0.5 ** (past.age_days / HALF_LIFE_DAYS)
    # Cuts overlap where fewer days lie between them than are asked for: together they say less than their number.
    own = min(float(len(errors)), (past.age_days.max() + past.days) / past.days * 3)
    share = own / (own + EXPECTED_CUTS)
    found = {}
    for level in LEVELS:
        measured = quantile(errors, recent, level) * WIDEN[level]
        found[level] = share * measured + (1 - share) * EXPECTED[level] * expected
    found[0.95] = max(found[0.95], found[0.80])
    return found


def scatter(task: Task) -> float:
    """How far the sum of the days ahead usually strays, from how the last days stray around their weekday's level."""
    recent = task.even[-SCATTER_DAYS:]
    daily = float(recent.std(ddof=1)) if len(recent) > 1 else float(recent.mean())
    return daily * float(np.power(task.days, GROWTH))


def quantile(values: Values, weight: Values, level: float) -> float:
    """The weighted quantile, between neighbours by line."""
    order = np.argsort(values)
    ranks = np.cumsum(weight[order]) - 0.5 * weight[order]
    return float(np.interp(level * weight.sum(), ranks, values[order]))
