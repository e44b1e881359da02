"""`spendgate forecast`: the period's end of the running budgets and APIs, or of any file of days; how good it was."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option

if TYPE_CHECKING:
    from proxy.control.forecast import DailySeries
    from proxy.control.forecast.backtest import Case
    from proxy.control.outlook import Outlook
    from proxy.core.history import Day, Drawn
    from proxy.core.model import RuleSet
    from proxy.settings import Settings

LARGEST_MB = 32


def command(frame: Frame) -> click.Command:
    def forecast(
        what: str | None, csv: str | None, as_of: str | None, country: str | None, as_json: bool, **flags: Any
    ) -> int:
        settings = frame.settings(**flags)
        if csv is None:
            if as_of is not None:
                frame.fail("forecast.as_of_alone")
            return _running(frame, settings, country, as_json=as_json, backtest=what is not None)
        series = read_csv(frame, Path(csv))
        if what is not None:
            return _backtest_file(frame, csv, series, as_json=as_json)
        return _file(frame, series, _day(frame, as_of) if as_of else series.last, country, as_json=as_json)

    return Command(
        "forecast",
        frame,
        callback=forecast,
        params=[
            click.Argument(["what"], type=click.Choice(["backtest"]), required=False, metavar="[backtest]"),
            option(frame, "--csv", text="forecast_csv", metavar="FILE"),
            option(frame, "--as-of", text="forecast_as_of", metavar="DATE"),
            option(frame, "--country", text="forecast_country", metavar="CODE"),
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


# --- a file of days ---------------------------------------------------------------------------------------------------


def read_csv(frame: Frame, path: Path) -> DailySeries:
    """The days of a file with the columns date and value; ends the command with the line that cannot be read."""
    import csv

    from proxy.cli.files import read
    from proxy.control.forecast import DailySeries

    text = read(frame, str(path), LARGEST_MB * 1024 * 1024).decode("utf-8-sig", errors="replace").replace("\0", "?")
    rows = csv.reader(text.splitlines())
    days: list[tuple[date, float]] = []
    columns: tuple[int, int] | None = None
    for line, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if columns is None:
            names = [cell.lower() for cell in cells]
            if "date" in names and "value" in names:
                columns = names.index("date"), names.index("value")
                continue
            columns = 0, 1
        if len(cells) <= max(columns):
            frame.fail("forecast.short_row", path=path, line=line)
        day, value = cells[columns[0]], cells[columns[1]]
        days.append((_read_day(frame, path, line, day), _read_value(frame, path, line, value)))
    if not days:
        frame.fail("forecast.empty", path=path)
    try:
        return DailySeries.of(days)
    except ValueError:
        frame.fail("forecast.too_long", path=path, first=min(days)[0], last=max(days)[0])


def _read_day(frame: Frame, path: Path, line: int, text: str) -> date:
    """A date, or the date of a time stamp: "2026-11-05", "2026-11-05T00:00:00+09:00"."""
    try:
        if text[10:11] not in {"", "T", " "}:
            raise ValueError(text)
        return date.fromisoformat(text[:10])
    except ValueError:
        frame.fail("forecast.bad_date", path=path, line=line, text=text[:40])


def _read_value(frame: Frame, path: Path, line: int, text: str) -> float:
    import math

    try:
        value = float(text.replace("_", "x")) if text else 0.0
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        frame.fail("forecast.bad_value", path=path, line=line, text=text[:40])
    return value


def _day(frame: Frame, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        frame.fail("forecast.bad_as_of", text=text)


def _file(frame: Frame, series: DailySeries, as_of: date, country: str | None, *, as_json: bool) -> int:
    from datetime import timedelta

    from proxy.control.forecast import project
    from proxy.control.forecast.special import holiday_factors

    if as_of < series.first:
        frame.fail("forecast.too_early", as_of=as_of, first=series.first)
    end = month_end(as_of)
    known = series.until(as_of)
    factors = {}
    if country is not None:
        ahead = [as_of + timedelta(days=day) for day in range(1, (end - as_of).days + 1)]
        factors = holiday_factors(known, _holidays(frame, country, known.first.year, end.year), ahead)
    found = project(known, as_of, end, day_factors=factors)
    if as_json:
        answer = {
            "as_of": as_of.isoformat(),
            "period_end": end.isoformat(),
            "spent": found.spent,
            "month_end": found.month_end,
            "interval80": list(found.interval80),
            "interval95": list(found.interval95),
            "models": dict(found.models),
            "weights": {name: round(share, 6) for name, share in found.weights.items()},
            "basis": found.basis,
            "days_left": found.days_left,
        }
        click.echo(json.dumps(answer))
        return Exit.OK
    lines = [
        frame.say("forecast.file", end=end, value=_plain(found.month_end), spent=_plain(found.spent), as_of=as_of),
        frame.say("forecast.interval", level=80, low=_plain(found.interval80[0]), high=_plain(found.interval80[1])),
        frame.say("forecast.interval", level=95, low=_plain(found.interval95[0]), high=_plain(found.interval95[1])),
        frame.say(f"forecast.basis.{found.basis}"),
    ]
    click.echo("\n".join(lines))
    rows = [[frame.say(f"forecast.model.{name}"), _plain(value)] for name, value in sorted(found.models.items())]
    _table(frame, [frame.say("forecast.model"), frame.say("forecast.month_end")], rows)
    return Exit.OK


def _holidays(frame: Frame, country: str, first: int, last: int) -> frozenset[date]:
    from proxy.control.forecast.special import holidays_of

    try:
        return holidays_of(country.upper(), first, last)
    except ValueError:
        frame.fail("forecast.bad_country", text=country)


def month_end(day: date) -> date:
    import calendar

    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


# --- the running budgets ----------------------------------------------------------------------------------------------


def _running(frame: Frame, settings: Settings, country: str | None, *, as_json: bool, backtest: bool) -> int:
    from proxy.cli.rules import load
    from proxy.control.outlook import as_json as one_as_json
    from proxy.control.outlook import outlooks

    rules = load(frame, settings.rules, keys=False)
    if country is not None:
        _holidays(frame, country, 2026, 2026)
    read = read_days(frame, settings, rules)
    days, now_ms = read.days, read.now_ms
    if backtest:
        return _backtest_ledger(frame, rules, days, as_json=as_json)
    where = country.upper() if country else None
    found = outlooks(rules, days, now_ms, limits=read.limits, drawn=read.drawn, country=where)
    if as_json:
        click.echo(json.dumps([one_as_json(one) for one in found], ensure_ascii=False))
        return Exit.OK
    if not days:
        click.echo(frame.say("forecast.no_history"))
    _show(frame, found)
    return Exit.OK


@dataclass(frozen=True, slots=True)
class _Ledger:
    """The roll-ups, the limits in force by budget (atoms), what free allowances gave; now_ms: Unix ms."""

    now_ms: int
    days: list[Day] = field(default_factory=list)
    limits: Mapping[str, int] = field(default_factory=dict)
    drawn: Drawn = field(default_factory=dict)


def read_days(frame: Frame, settings: Settings, rules: RuleSet) -> _Ledger:
    """Nothing but the moment where no store is."""
    import asyncio

    from proxy.cli.place import opened, unreachable
    from proxy.state.store import StoreUnavailable

    now_ms = time.time_ns() // 1_000_000
    with opened(frame, settings) as place:
        if place.url is None:
            return _Ledger(now_ms)
        try:
            return asyncio.run(_read(place.url, settings.tenant, rules, now_ms))
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


async def _read(url: str, tenant: str, rules: RuleSet, now_ms: int) -> _Ledger:
    from proxy.state import allowances, history
    from proxy.state.keys import Keys
    from proxy.state.ledger import Ledger
    from proxy.state.reading import Reader

    async with Reader(url) as reader:
        keys = Keys(tenant)
        levels = await Ledger(reader, keys).current(rules.budgets, now_ms)
        days = await history.days(reader, keys, rules.timezone, now_ms)
        drawn = await allowances.drawn(reader, keys, rules, now_ms)
    return _Ledger(now_ms, days, {level.budget: level.limit_atoms for level in levels}, drawn)


def _show(frame: Frame, found: Sequence[Outlook]) -> None:
    from proxy.core.figures import with_unit

    def amount(atoms: float, currency: str) -> str:
        return with_unit(_major(round(atoms), currency), currency, frame.lang)

    rows = []
    for one in found:
        made = one.projection
        verdict = "already" if one.limit_atoms is not None and made.spent >= one.limit_atoms else ""
        verdict = verdict or ("over" if one.over else "may" if one.may_be_over else "fits" if one.limit_atoms else "")
        told = frame.say(f"forecast.verdict.{verdict}", day=one.reaches_limit or one.end) if verdict else ""
        rows.append(
            [
                frame.say(f"forecast.kind.{one.kind}", name=one.name),
                one.period,
                amount(made.spent, one.currency),
                amount(made.month_end, one.currency),
                f"{amount(made.interval80[0], one.currency)} – {amount(made.interval80[1], one.currency)}",
                "" if one.past_error is None else f"±{one.past_error:.0f} %",
                told,
            ]
        )
    if rows:
        names = ("scope", "period", "spent", "period_end", "interval80", "past_error", "verdict")
        _table(frame, [frame.say(f"forecast.head.{name}") for name in names], rows)


def _major(atoms: int, currency: str) -> str:
    """Whole units for currencies without a minor one, two digits for the others."""
    from proxy.core import money

    value = money.from_atoms(atoms, currency)
    return f"{value:,.0f}" if money.exponent(currency) == 6 else f"{value:,.2f}"


# --- how good it was --------------------------------------------------------------------------------------------------


def _backtest_file(frame: Frame, name: str, series: DailySeries, *, as_json: bool) -> int:
    from proxy.control.forecast.backtest import cases

    return _tell_backtest(frame, [(Path(name).name, cases(series, fewest_days=28))], as_json=as_json)


def _backtest_ledger(frame: Frame, rules: RuleSet, days: Sequence[Day], *, as_json: bool) -> int:
    from proxy.control.outlook import backtest, one_api
    from proxy.core.history import apis_of

    parts = [(frame.say("forecast.everything"), backtest(days, lambda _: True))]
    parts += [(api, backtest(days, one_api(api))) for api in apis_of(days)]
    return _tell_backtest(frame, parts, as_json=as_json)


def _tell_backtest(frame: Frame, parts: Sequence[tuple[str, list[Case]]], *, as_json: bool) -> int:
    from proxy.control.forecast.backtest import CUTS, coverage, scores

    told = []
    for name, found in parts:
        table, (within80, within95) = scores(found), coverage(found)
        told.append(
            {
                "series": name,
                "months": sorted({case.month.isoformat()[:7] for case in found}),
                "cover80": round(within80, 4),
                "cover95": round(within95, 4),
                "models": [
                    {
                        "model": score.model,
                        "cases": score.cases,
                        "median_error_percent": round(score.median_error, 3),
                        "mean_error_percent": round(score.mean_error, 3),
                        "by_day": {str(cut): round(error, 3) for cut, error in score.by_cut.items()},
                        "ratio_to_seasonal_naive": round(score.ratio, 4),
                    }
                    for score in table
                ],
            }
        )
        if as_json:
            continue
        if not found:
            click.echo(frame.say("forecast.backtest.none", name=name))
            continue
        months = len({case.month for case in found})
        click.echo(
            frame.say(
                "forecast.backtest.about",
                name=name,
                months=months,
                c80=f"{100 * within80:.0f}",
                c95=f"{100 * within95:.0f}",
            )
        )
        heads = [frame.say("forecast.model"), *[frame.say("forecast.backtest.day", day=cut) for cut in CUTS]]
        heads += [frame.say("forecast.backtest.mean"), frame.say("forecast.backtest.ratio")]
        rows = [
            [
                frame.say(f"forecast.model.{score.model}"),
                *[f"{score.by_cut[cut]:.1f} %" if cut in score.by_cut else "-" for cut in CUTS],
                f"{score.mean_error:.1f} %",
                f"{score.ratio:.2f}",
            ]
            for score in table
        ]
        _table(frame, heads, rows)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    return Exit.OK


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"


def _table(frame: Frame, heads: list[str], rows: list[list[str]]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black")
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index == 0 else "right", no_wrap=index < 3)
    for row in rows:
        table.add_row(*row)
    frame.console().print(table)
