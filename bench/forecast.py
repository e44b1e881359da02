"""How good the forecast is: month ends of many daily series, on days 5, 10, 15 and 20, beside three simple habits.

    python bench/forecast.py [FOLDER | FILE.csv] [--months 6] [--events]

FOLDER (or the variable FORECAST_SERIES) holds CSV files with the columns series_id,date,value, or date,value with one
series a file. Without one, series are made up: weekdays, growth, bursts, pauses, jumps, stops, short histories; the
numbers for those say that nothing is broken, not how good the forecast is on yours. Printed for each model: the median
error at each cut, and the geometric mean of its error over that of "the last seven days repeated"; for the answer also
how often its intervals held, the range of the ratio over thirds of the series (what a set of unseen series may
bring), and the time of one forecast of thirteen months. --events then changes each series and asks again
(forecast_events.py): how often the intervals hold, and how large the errors are, when it jumps, stops, pauses or has
only just begun.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import random
import statistics
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import forecast_events
import rig

from proxy.control.forecast import DailySeries, project
from proxy.control.forecast.backtest import CUTS, GRAIN, Case, cases, coverage, scores


def read(path: Path) -> dict[str, DailySeries]:
    """The series of a file, or of every .csv file of a folder. Files without date and value are passed over."""
    found: dict[str, dict[date, float]] = {}
    for file in sorted(path.rglob("*.csv")) if path.is_dir() else [path]:
        with file.open(encoding="utf-8") as lines:
            rows = csv.DictReader(lines)
            if not {"date", "value"} <= set(rows.fieldnames or ()):
                continue
            for row in rows:
                days = found.setdefault(row.get("series_id") or file.stem, {})
                days[date.fromisoformat(row["date"])] = max(0.0, float(row["value"] or 0))
    return {name: DailySeries.of(days) for name, days in found.items()}


def made_up(count: int = 24) -> dict[str, DailySeries]:
    """Series of eight kinds, always the same ones."""
    dice = random.Random(7)
    found = {}
    kinds = ("weekdays", "growth", "bursts", "pauses", "jump", "stop", "noise", "wave")
    for index in range(count):
        kind, days = kinds[index % len(kinds)], dice.choice((120, 240, 420))
        level, change = dice.uniform(500, 20_000), dice.randint(days - 90, days - 20)
        shape = [1.0 if day < 5 else dice.uniform(0.1, 0.9) for day in range(7)]
        drift, values = dice.uniform(-0.002, 0.006), []
        for day in range(days):
            value = level * shape[day % 7] * dice.lognormvariate(0, 0.25)
            if kind == "growth":
                value *= math.exp(drift * day)
            elif kind == "bursts" and dice.random() < 0.06:
                value *= dice.uniform(3, 9)
            elif kind == "pauses" and dice.random() < 0.4:
                value = 0.0
            elif kind == "jump" and day >= change:
                value *= 3.0
            elif kind == "stop" and day >= change:
                value = 0.0
            elif kind == "wave":
                value *= 1 + 0.4 * math.sin(day / 23)
            values.append(value)
        found[f"{kind}-{index}"] = DailySeries(date(2025, 1, 1), tuple(values))
    return found


def log_ratio(case: Case) -> float:
    errors = [abs(case.guesses[name] - case.actual) / case.actual for name in ("ensemble", "seasonal_naive")]
    return math.log((errors[0] + GRAIN) / (errors[1] + GRAIN))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="?", default=os.environ.get("FORECAST_SERIES"))
    parser.add_argument("--months", type=int, default=6)
    parser.add_argument("--exclude", default="m4_", help="series whose names begin so are left out (levels, not flows)")
    parser.add_argument("--events", action="store_true", help="also series that jump, stop, pause, or have just begun")
    asked = parser.parse_args()
    series = read(Path(asked.series)) if asked.series else made_up()
    series = {name: days for name, days in series.items() if not (asked.exclude and name.startswith(asked.exclude))}
    by_series = {name: found for name, days in sorted(series.items()) if (found := cases(days, asked.months))}
    found = [case for some in by_series.values() for case in some]
    if not found:
        print("no series has a whole month with eight weeks before it")
        return 1
    print(f"{len(by_series)} series, {len(found)} cases; median error of the month's total")
    rows = [
        [
            score.model,
            *[f"{score.by_cut[cut]:.1f} %" for cut in CUTS],
            f"{score.mean_error:.1f} %",
            f"{score.ratio:.3f}",
        ]
        for score in scores(found)
    ]
    print(rig.table(["model", *[f"day {cut}" for cut in CUTS], "mean", "to 7 days"], rows))
    held80, held95 = coverage(found)
    print(f"the 80 % interval held {100 * held80:.0f} %, the 95 % interval {100 * held95:.0f} %")
    logs = {name: statistics.fmean(map(log_ratio, some)) for name, some in by_series.items()}
    each = ", ".join(f"{name} {math.exp(log):.2f}" for name, log in logs.items())
    print(f"ratio by series: {each}")
    if len(logs) > 2:
        without = [math.exp(statistics.fmean(v for k, v in logs.items() if k != name)) for name in logs]
        print(f"ratio with one series left out: {min(without):.3f} to {max(without):.3f}")
    long = DailySeries(date(2025, 1, 1), tuple(1000.0 * (1 + day % 7) for day in range(400)))
    took = []
    for _ in range(7):
        begin = time.perf_counter()
        project(long, long.last, long.last + timedelta(days=25))
        took.append(1000 * (time.perf_counter() - begin))
    print(f"one forecast from thirteen months of days: {statistics.median(took):.0f} ms")
    if asked.events:
        print("\nwhen something happens (median error of the month's total)")
        changed = list(forecast_events.families({name: series[name] for name in by_series}, asked.months))
        table = [row for kind, seen in changed for row in forecast_events.rows(kind, seen)]
        print(rig.table(forecast_events.HEAD, table))
        print("\nby day of the month, the forecast and (in brackets) the best of the three habits")
        print(rig.table(forecast_events.CUT_HEAD, [forecast_events.by_cut(kind, seen) for kind, seen in changed]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
