"""How far each model may be trusted: by how wrong it was on this series, for as many days ahead as are asked for now.

The history is cut at past days (rolling origins); each model forecasts the days after each cut; its weight is the
inverse fourth power of its mean error, the newer cuts counting more. Errors are pulled towards the middle model's, so
that luck is not taken for skill. With a short history there is little to judge by: the weights become nearly equal.
The constants were chosen over whole sets of series, leaving series out, and are flat around where they stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proxy.control.forecast.models import NAMES, Task, sums
from proxy.control.forecast.series import Values

POWER = 4.0
HALF_LIFE_DAYS = 90.0
PULL = 0.2
ORIGINS, STEP_DAYS = 32, 3
FEWEST_ORIGINS = 6
SHORT_DAYS = 21  # below this nothing is seen twice: no blend was better than the last week itself
SHORT_MODELS = frozenset({"seasonal_naive"})


@dataclass(frozen=True, slots=True)
class Past:
    """What the models would have said at past cuts. guesses: cut by model (NaN: nothing); truth and age: by cut."""

    guesses: Values
    truth: Values
    age_days: Values
    days: int  # ahead of each cut; fewer than asked for where the history is short


def look_back(values: Values, weekday: int, days: int, made_up: range = range(0)) -> Past:
    """Rolling origins over the end of the history, newest first. made_up: days that nobody should be judged by."""
    n = len(values)
    cuts = [n - days - STEP_DAYS * j for j in range(ORIGINS) if n - days - STEP_DAYS * j >= 7]
    if len(cuts) < FEWEST_ORIGINS:
        days = max(2, min(days, (n - 7) // 3))
        cuts = [n - days - j for j in range(ORIGINS) if n - days - j >= 5]
    cuts = [cut for cut in cuts if cut + days <= made_up.start or cut >= made_up.stop]
    guesses = [sums(Task(values[:cut], weekday, days)) for cut in cuts]
    total = np.concatenate(([0.0], np.cumsum(values)))
    at = np.array(cuts, dtype=int)
    return Past(
        np.array(guesses).reshape(len(cuts), len(NAMES)),
        np.asarray(total[at + days] - total[at], dtype=np.float64),
        np.asarray(n - days - at, dtype=np.float64),
        days,
    )


def weights(past: Past, available: Values, history_days: int) -> Values:
    """One weight a model, together 1; `available`: true where the model answers now."""
    usable = available.astype(bool)
    if history_days < SHORT_DAYS:
        usable = usable & np.array([name in SHORT_MODELS for name in NAMES])
    trust = np.ones(len(NAMES))
    scale = past.truth.mean() if len(past.truth) else 0.0
    if scale > 0:
        errors = np.abs(past.guesses - past.truth[:, None]) / scale
        middle = np.nanmedian(errors, axis=1, keepdims=True)  # some models always answer
        errors = np.where(np.isnan(errors), middle, errors)
        recent = 0.5 ** (past.age_days / HALF_LIFE_DAYS)
        mean = recent @ errors / recent.sum()
        trust = (mean + PULL * np.median(mean[usable]) + 1e-6) ** -POWER
    trust = np.where(usable, trust, 0.0)
    return np.asarray(trust / trust.sum(), dtype=np.float64)


def blend(guesses: Values, weight: Values) -> Values:
    """The weighted mean along the last axis; a model without an answer hands its weight to the others."""
    there = ~np.isnan(guesses)
    share = np.where(there, weight, 0.0)
    return np.asarray((np.where(there, guesses, 0.0) * share).sum(-1) / np.maximum(share.sum(-1), 1e-300))
