"""The parts that the models share: what each weekday is worth, a level that forgets, a line through the last days.

All functions are equivariant: multiplying the series multiplies what they return (weekday factors stay).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from proxy.control.forecast.series import Values

WEEKDAY_DAYS = 84  # a weekday's worth is read from the last twelve weeks
WEEKDAY_PRIOR = 3.0  # ... as if three more weeks had been quite even
SMALLEST_FACTOR = 0.1  # a day is never divided by less
TINY = 1e-12


def weekday_factors(values: Values, weekdays: Values) -> Values:
    """Seven factors with mean 1, Monday first: each day against the week around it, trimmed and shrunk to 1."""
    if len(values) < 10:
        return np.ones(7)
    recent, days = values[-WEEKDAY_DAYS:], weekdays[-WEEKDAY_DAYS:]
    n = len(recent)
    sums = np.concatenate(([0.0], np.cumsum(recent)))
    low = np.clip(np.arange(n) - 3, 0, max(0, n - 7))
    high = np.minimum(low + 7, n)
    around = (sums[high] - sums[low]) / (high - low)
    lived = around > max(TINY, recent.mean() * 1e-9)
    ratios = np.where(lived, recent / np.where(lived, around, 1.0), 1.0)
    factors = np.ones(7)
    for day in range(7):
        seen = np.sort(ratios[(days == day) & lived])
        if len(seen):
            cut = len(seen) // 6
            middle = float(np.median(seen)) if len(seen) < 6 else float(seen[cut : len(seen) - cut].mean())
            factors[day] = (middle * len(seen) + WEEKDAY_PRIOR) / (len(seen) + WEEKDAY_PRIOR)
    total = factors.mean()
    return np.asarray(factors / total, dtype=np.float64) if total > 0 else np.ones(7)


@lru_cache(maxsize=4096)
def _smoothing(n: int, alpha: float) -> Values:
    return np.asarray(alpha * (1 - alpha) ** np.arange(n)[::-1], dtype=np.float64)


def level(values: Values, alpha: float) -> float:
    """Simple exponential smoothing's level after the last day; it begins at the first week's mean."""
    n = len(values)
    return float(_smoothing(n, alpha) @ values + (1 - alpha) ** n * values[:7].mean())


def line(values: Values, days: int) -> tuple[float, float]:
    """Least squares through the last `days`: (height at the last day, slope a day)."""
    recent = values[-days:]
    n = len(recent)
    if n < 5:
        return float(recent.mean()), 0.0
    x = np.arange(n) - (n - 1) / 2
    slope = float(x @ (recent - recent.mean()) / (x @ x))
    return float(recent.mean()) + slope * (n - 1) / 2, slope


@lru_cache(maxsize=1024)
def _basis(n: int, degree: int) -> tuple[Values, Values]:
    """What turns values into coefficients, and each point's leverage, for x from -1 (oldest) to 0 (newest)."""
    design = np.vander((np.arange(n) - (n - 1)) / n, degree + 1)
    solve = np.linalg.pinv(design)
    leverage = np.einsum("ij,ji->i", design, solve)
    return np.asarray(solve, dtype=np.float64), np.asarray(leverage, dtype=np.float64)


def polynomial(values: Values, highest: int) -> Values:
    """Coefficients, highest power first, in x = days after the last one / number of days.

    The degree from 1 to `highest` is the one with the least leave-one-out error (exact, by the leverages).
    """
    n = len(values)
    best, chosen = np.inf, np.array([float(values.mean())])
    for degree in range(1, highest + 1):
        if n < 4 * (degree + 1):
            break
        solve, leverage = _basis(n, degree)
        coefficients = solve @ values
        residuals = values - np.vander((np.arange(n) - (n - 1)) / n, degree + 1) @ coefficients
        error = float(np.mean((residuals / np.maximum(1 - leverage, 1e-6)) ** 2))
        if error < best * 0.98:  # a higher degree has to earn its place
            best, chosen = error, coefficients
    return chosen
