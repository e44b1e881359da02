"""What the rest of the period will cost: a series of days in, a projection with its intervals out.

PURE: no clock, no Redis, no files; numpy is imported here and nowhere else in the house. `project()` is the one door;
`backtest()` asks the same door about the past and compares it with three simple habits.

    series.py      days as numbers, gaps as zeros
    profile.py     what a weekday is worth, levels, lines
    models.py      the single models, each a way to continue a series
    ensemble.py    how far each model may be trusted on this very series
    interval.py    how wrong the blend has been, and so how wide the answer is
    special.py     public holidays, known costs ahead, free allowances
    projection.py  all of it together
    backtest.py    rolling-origin month ends
"""

from proxy.control.forecast.projection import Projection, project
from proxy.control.forecast.series import DailySeries

__all__ = ["DailySeries", "Projection", "project"]
