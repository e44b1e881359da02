"""`spendgate forecast` on files: those of friends and those of enemies."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Spendgate


def written(path: Path, days: int = 60, value: float = 10.0) -> Path:
    first = date(2026, 9, 1)
    rows = [f"{first + timedelta(days=day)},{value * (1 + day % 7)}" for day in range(days)]
    path.write_text("\n".join(["date,value", *rows]))
    return path


def test_a_file_is_forecast_for_programs(tmp_path: Path, quick: Spendgate) -> None:
    done = quick("forecast", "--csv", str(written(tmp_path / "d.csv")), "--as-of", "2026-10-20", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    truth = sum(10.0 * (1 + day % 7) for day in range(30, 61))
    assert answer["period_end"] == "2026-10-31"
    assert answer["month_end"] == pytest.approx(truth, rel=0.02)
    assert (
        answer["interval95"][0]
        <= answer["interval80"][0]
        <= truth
        <= answer["interval80"][1]
        <= answer["interval95"][1]
    )
    assert {"linear", "polynomial", "seasonal", "seasonal_naive", "naive", "ensemble"} <= set(answer["models"])
    assert answer["models"]["ensemble"] == answer["month_end"]
    assert sum(answer["weights"].values()) == pytest.approx(1, abs=1e-4)


def test_days_after_the_cut_are_not_looked_at(tmp_path: Path, quick: Spendgate) -> None:
    short, long = written(tmp_path / "a.csv", 50), written(tmp_path / "b.csv", 50)
    long.write_text(long.read_text() + "\n2026-10-25,999999\n2026-11-25,999999")
    one, other = (quick("forecast", "--csv", str(p), "--as-of", "2026-10-18", "--json") for p in (short, long))
    assert one.stdout == other.stdout


@pytest.mark.parametrize("language", ["en", "ko"])
def test_people_read_the_answer_and_every_model(tmp_path: Path, quick: Spendgate, language: str) -> None:
    done = quick("forecast", "--csv", str(written(tmp_path / "d.csv", 45)), "--lang", language)
    assert done.returncode == 0
    assert "2026-10-31" in done.stdout
    assert ("polynomial" if language == "en" else "다항식") in done.stdout


@pytest.mark.parametrize(
    ("text", "basis"),
    [
        ("date,value\n2026-11-05,3\n", "short"),
        ("2026-11-05,3\n2026-11-02,1\n2026-11-05,4\n", "short"),
        ("value,other,date\n3,x,2026-11-05T10:00:00Z\n,y,2026-11-06\n", "short"),
        ("\ufeffdate,value\r\n2026-11-05,0\r\n\r\n2026-11-20,0\r\n", "none"),
        ("date,value\n2026-01-05,5\n2026-11-20,5\n", "history"),
        ("date,value\n2026-11-30,7\n", "known"),
    ],
)
def test_odd_files_are_read(tmp_path: Path, quick: Spendgate, text: str, basis: str) -> None:
    (tmp_path / "d.csv").write_text(text)
    done = quick("forecast", "--csv", "d.csv", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["basis"] == basis
    assert answer["month_end"] >= answer["spent"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("date,value\n2026-02-30,1\n", "line 2: “2026-02-30” is not a date"),
        ("date,value\n2026-11-01,1\n05/11/2026,1\n", "line 3: “05/11/2026” is not a date"),
        ("date,value\n2026-11-01,many\n", "line 2: “many” is not an amount"),
        ("date,value\n2026-11-01,-5\n", "“-5” is not an amount"),
        ("date,value\n2026-11-01,nan\n", "“nan” is not an amount"),
        ("date,value\n2026-11-01,1e999\n", "“1e999” is not an amount"),
        ("date,value\n2026-11-01\n", "line 2: a date and a value are needed"),
        ("date,value\n", "holds no day"),
        ("", "holds no day"),
        ("date,value\n0026-11-01,1\n2026-11-01,1\n", "one of these dates must be wrong"),
        ("\0\0\1PNG\n", "a date and a value are needed"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, quick: Spendgate, text: str, told: str) -> None:
    (tmp_path / "d.csv").write_text(text)
    done = quick("forecast", "--csv", "d.csv", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--as-of", "2026-10-01"], "--as-of needs --csv"),
        (["--csv", "nowhere.csv"], "there is no such file"),
        (["--csv", "d.csv", "--as-of", "soon"], "--as-of cannot be “soon”"),
        (["--csv", "d.csv", "--as-of", "2020-01-01"], "is before the first day of the file, 2026-09-01"),
        (["--csv", "d.csv", "--country", "Atlantis"], "--country cannot be “Atlantis”"),
    ],
)
def test_a_question_that_cannot_be_answered(tmp_path: Path, quick: Spendgate, words: list[str], told: str) -> None:
    written(tmp_path / "d.csv")
    done = quick("forecast", *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_file_is_put_to_the_test(tmp_path: Path, quick: Spendgate) -> None:
    (told,) = json.loads(quick("forecast", "backtest", "--csv", str(written(tmp_path / "d.csv", 95)), "--json").stdout)
    assert told["months"] == ["2026-10", "2026-11"]
    models = {row["model"]: row for row in told["models"]}
    assert {"ensemble", "linear", "polynomial", "seasonal", "naive", "seasonal_naive", "plain_linear"} <= set(models)
    assert models["seasonal_naive"]["ratio_to_seasonal_naive"] == 1
    assert set(models["ensemble"]["by_day"]) == {"5", "10", "15", "20"}
    shown = quick("forecast", "backtest", "--csv", str(tmp_path / "d.csv"))
    assert "median errors over 2 months" in shown.stdout
    assert "nothing to test" in quick("forecast", "backtest", "--csv", str(written(tmp_path / "e.csv", 20))).stdout
