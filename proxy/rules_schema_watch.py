"""The grammar of `watch`: when fast or unusual spending is told."""

from __future__ import annotations

from proxy.rules_grammar import Model, key, must
from proxy.rules_values import Percent, PositiveNumber, TrueOnly, Whole


class BurnWindowSpec(Model):
    """It burns while the last hours, and still the last twelfth of them, take so many times what the limit can bear."""

    hours: Whole = must("Length of the window, 1 to 6.")
    factor: PositiveNumber = must("How many times the limit, spread evenly over its period.")


class BurnSpec(Model):
    """Budgets that are used up too fast."""

    off: TrueOnly = key("true: not told, and no incident.")
    windows: list[BurnWindowSpec] = key("Instead of 1 hour at 6 times and 6 hours at 3 times.", min_length=1)


class AnomaliesSpec(Model):
    """APIs and callers that spend far more in an hour than they usually do in it."""

    off: TrueOnly = key("true: not told, and no incident.")
    times: PositiveNumber = key("At least so many times the usual (the median; default 3).")
    deviations: PositiveNumber = key("So many scaled median absolute deviations above the usual (default 6).")
    floor: Percent = key("And at least so much of the largest limit that counts such calls (default 1%).")


class WatchSpec(Model):
    """What counts as fast, and what as unusual."""

    burn: BurnSpec = key("Burn rates.")
    anomalies: AnomaliesSpec = key("Unusual hours.")
