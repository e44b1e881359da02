"""Has the level changed for good a few days ago? Then the days before it are worth something else, or nothing.

A new customer, a new model, a service that was switched off: the models would need weeks to believe it. A step is
believed when it lasts some days, is large, and stands far outside the scatter on both sides of it. The days before it
are brought to the new level, so that weekdays and last year keep their shape. A stop is a run of zeros longer than any
before it: nothing is expected until something is spent again. Once that has happened it was a pause, and a gap says
nothing of a level: it is filled by the weeks before it.
"""

from __future__ import annotations

import numpy as np

from proxy.control.forecast.profile import SMALLEST_FACTOR, weekday_factors
from proxy.control.forecast.series import Values

SHORTEST, LONGEST = 4, 128  # days since the step; the models are weighed over so many
WEIGHTY_DAYS = 35  # older than this a step has to be larger: the models have forgotten the smaller ones
FRESH_WEEKS = 3  # before a weekday's scatter is known
FRESH_GAP = 2.5  # each of the last one to three days that far off, in scatters: a step, or an odd day
BEFORE_DAYS = 42
LEVEL_DAYS = 28  # right before the step: what the level was then
SMALLEST_STEP = 0.47  # of the logarithm: by 1.6
SMALLEST_GAP = 3.0  # the step in scatters
STOP_DAYS = 4
FOR_GOOD = 0.1  # of all stops, before anything is known of how long one lasts: in real series nearly all end
LOOKED_AT_DAYS = 120


def idle_days(values: Values) -> int:
    """How many zeros the history ends with when that is a stop, else 0."""
    spent = np.flatnonzero(values[-LOOKED_AT_DAYS:])
    if not len(spent):
        return len(values)
    run = min(len(values), LOOKED_AT_DAYS) - 1 - int(spent[-1])
    longest = int(np.diff(spent).max() - 1) if len(spent) > 1 else 0
    return run if run >= max(STOP_DAYS, longest + 2) else 0


def back_within(idle: int, chance: float) -> float:
    """Within how many days a series that has been idle so long is back with this chance; infinity: it never is.

    Some stops are for good; a pause that has lasted k days ends within j more with the chance j / (k + 1 + j) (the rule
    of succession of Laplace), and the longer it is quiet, the likelier it is for good.
    """
    lasts = (1 - FOR_GOOD) / (idle + 1)
    pause = lasts / (lasts + FOR_GOOD)
    return chance * (idle + 1) / (pause - chance) if pause > chance else float("inf")


def past_pause(values: Values) -> range | None:
    """The days of the one long pause that is over, if there is one with a week of history before it.

    A pause is a run of zeros longer than any other by two days and more, as a stop is; runs that come again and again
    belong to the series.
    """
    spent = np.flatnonzero(values[-LOOKED_AT_DAYS:])
    runs = np.diff(spent) - 1
    if len(runs) < 2:
        return None
    at = int(runs.argmax())
    length, others = int(runs[at]), int(np.delete(runs, at).max())
    first = max(0, len(values) - LOOKED_AT_DAYS) + int(spent[at]) + 1
    return range(first, first + length) if length >= max(STOP_DAYS, others + 2) and first >= 7 else None


def filled(values: Values, pause: range) -> Values:
    """The history with a pause filled by the weeks before it, day by day as they were: they scatter, too."""
    days = 7 * min(pause.start // 7, LEVEL_DAYS // 7)
    full = values.copy()
    full[pause] = values[pause.start - days + np.arange(len(pause)) % days]
    return full


def levelled(values: Values, weekday: int) -> tuple[Values, int, int]:
    """The history at today's level, the weekday of its first day, and for how many days the level has held.

    A past of next to nothing is left out.
    """
    n = len(values)
    if n < SHORTEST + 7:
        return values, weekday, n
    days = np.asarray((np.arange(n) + weekday) % 7, dtype=np.float64)
    factors = weekday_factors(values, days)
    even = (values / np.maximum(factors[days.astype(int)], SMALLEST_FACTOR))[-(LONGEST + BEFORE_DAYS) :]
    m = len(even)
    logs = np.log(even + 0.05 * even.mean() + 1e-300)
    best, at = 0.0, 0
    for since in range(SHORTEST, min(LONGEST, m - 7) + 1):
        after, before = logs[m - since :], logs[max(0, m - since - BEFORE_DAYS) : m - since]
        step = abs(after.mean() - before.mean())
        spread = np.sqrt((after.var() * since + before.var() * len(before)) / (since + len(before))) + 0.02
        if (
            step > SMALLEST_STEP * max(1.0, since / WEIGHTY_DAYS)
            and step > SMALLEST_GAP * spread
            and spread < _along(logs[max(0, m - since - BEFORE_DAYS) :])
        ):
            sure = step / (spread * np.sqrt(1 / since + 1 / len(before)))
            if sure > best:
                best, at = float(sure), since
    if not at:
        return values, weekday, n
    now, then = even[m - at :].mean(), even[max(0, m - at - LEVEL_DAYS) : m - at].mean()
    if then < 0.02 * now:
        return values[n - at :], (weekday + n - at) % 7, at
    if not now:
        return values, weekday, at  # a stop: idle_days() judges it
    moved = values.copy()
    moved[: n - at] *= now / then
    return moved, weekday, at


def fresh_step(values: Values) -> tuple[int, float] | None:
    """(since how many days, how many times what their weekdays usually bring) the last one to three stand far off.

    Too young to be believed, and too far off to be left out: the interval has to hold both ways on. None: nothing does.
    """
    for since in range(SHORTEST - 1, 0, -1):
        weeks = min((len(values) - since) // 7, BEFORE_DAYS // 7)
        if weeks < FRESH_WEEKS:
            continue
        before = values[len(values) - since - 7 * weeks : len(values) - since].reshape(weeks, 7)
        after, usual = values[-since:], before.mean(axis=0)[:since]  # the days after begin with the oldest's weekday
        least = 0.05 * float(before.mean()) + 1e-300
        logs = np.log(before + least)
        spread = float(np.sqrt(((logs - logs.mean(axis=0)) ** 2).sum() / (7 * (weeks - 1)))) + 0.02
        away = np.log(after + least) - logs.mean(axis=0)[:since]
        far = float(np.abs(away).min()) > max(SMALLEST_STEP, FRESH_GAP * spread)
        if far and (away.min() > 0 or away.max() < 0) and usual.sum() > 0:
            return since, float(after.sum() / usual.sum())
    return None


def _along(logs: Values) -> float:
    """What a steady growth would leave unexplained: a step has to do better."""
    x = np.arange(len(logs)) - (len(logs) - 1) / 2
    return float(np.sqrt(np.mean((logs - logs.mean() - x * (x @ logs) / (x @ x)) ** 2)))
