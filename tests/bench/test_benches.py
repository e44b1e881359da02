"""The benches' own arithmetic, and one short run of each that needs nothing but the proxy: a measurement nobody can
start is no measurement."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import overshoot  # noqa: E402 - found only after the path is set
import rig  # noqa: E402
import throughput  # noqa: E402


def run(script: str, *words: str) -> str:
    """The output of a bench. Fails the test with it when the bench says that something does not hold."""
    done = subprocess.run(
        [sys.executable, str(BENCH / script), *words], capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0], 0.99, 3.0), ([1.0, 2.0], 0.5, 2.0), (list(range(100)), 0.99, 99), (list(range(1000)), 0.5, 500)],
)
def test_percentiles_take_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert rig.percentile(values, share) == expected


def test_a_table_lines_up() -> None:
    lines = rig.table(["name", "n"], [["a", 1], ["longer", 22]]).splitlines()
    assert lines == ["name     n", "------  --", "a        1", "longer  22"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (rb'+1.5 [0 127.0.0.1:4] "EVALSHA" "ab" "0"', [b"EVALSHA", b"ab", b"0"]),
        (rb'+1.5 [0 127.0.0.1:4] "SET" "" "a\"b\\c"', [b"SET", b"", b'a"b\\c']),
        (rb'+1.5 [0 127.0.0.1:4] "SET" "\xec\x9b\x90\r\n"', [b"SET", b"\xec\x9b\x90\r\n"]),
    ],
)
def test_words_of_a_monitored_command_come_back_as_they_were_sent(line: bytes, words: list[bytes]) -> None:
    assert throughput.monitored_words(line) == words


def test_recorded_calls_survive_the_way_into_lua(tmp_path: Path) -> None:
    path = tmp_path / "calls.lua"
    throughput.write_lua_calls(path, [b'a"b', b"\xec\x9b\x90"], [b"\n"], b"00ff")
    text = path.read_text()
    assert '"a\\034b", "\\236\\155\\144"' in text
    assert 'settle = {"\\010"}' in text
    assert 'id = "00ff"' in text


@pytest.mark.parametrize(
    ("chunked", "whole"),
    [
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"a\r\n0123456789\r\n", b"0123456789"),  # ended without its last chunk
        (b"0\r\n\r\n", b""),
    ],
)
def test_framing_is_taken_off_a_chunked_body(chunked: bytes, whole: bytes) -> None:
    assert overshoot.whole(chunked) == whole


def test_output_lengths_are_log_normal_with_the_median_that_they_claim() -> None:
    dice = random.Random(1)
    lengths = [overshoot.length(dice) for _ in range(4000)]
    assert 140 < statistics.median(lengths) < 160
    assert statistics.mean(lengths) > statistics.median(lengths)


def test_the_admission_bench_runs_and_its_books_are_right() -> None:
    # Other tests run beside this one, so that the promised latency is not looked at here.
    said = run("admission.py", "--seconds", "0.4", "--ways", "unix", "--promise-us", "1e9")
    assert "admit p50" in said
    assert "64 at a time, everything: admission" in said


def test_the_memory_bench_runs() -> None:
    assert "CPU for one streamed chunk" in run("memory.py", "--mib", "48", "--streams", "32")


def test_decorated_calls_are_measured_and_their_books_add_up() -> None:
    said = run("inprocess.py", "--calls", "96", "--rounds", "1", "--promise-s", "1e9", "--promise-us", "1e9")
    assert "async, 100 at once" in said
    assert "The check alone, sync: p50" in said


def test_a_strict_budget_is_never_exceeded_by_concurrent_streams_through_three_proxies() -> None:
    said = run(
        "overshoot.py", "--modes", "strict", "--budgets", "1", "--tokens", "4000", "--streams", "24", "--gap-ms", "2"
    )
    assert "budget 1: generated" in said


def test_the_forecast_is_measured_on_the_series_given(tmp_path: Path) -> None:
    lines = ["series_id,date,value"]
    for day in range(130):
        when = date(2026, 1, 1) + timedelta(days=day)
        lines += [f"a,{when},{100 + day + 40 * (day % 7)}", f"b,{when},{5 + (day * 7919) % 11}"]
    (tmp_path / "series.csv").write_text("\n".join(lines))
    (tmp_path / "notes.csv").write_text("kind,licence\nx,y\n")
    said = run("forecast.py", str(tmp_path), "--events", "--months", "2")
    assert "2 series, 16 cases" in said
    for change in ("as recorded", "jump up", "jump down", "stop", "trickle", "pause", "begun"):
        assert len([line for line in said.splitlines() if line.startswith(f"{change} ")]) == 2  # by age, and by cut
    assert "ensemble" in said
    assert "ratio by series: a " in said
    assert "one forecast from thirteen months of days" in said


def test_the_status_bench_runs_over_a_long_past() -> None:
    # Other tests run beside this one, so that the promised time is not looked at here.
    said = run("status.py", "--entries", "2000", "--days", "60", "--rounds", "5", "--promise-ms", "1e9")
    assert "ledger entries: 2000" in said
    assert "a fresh process, once a leader has run" in said
    assert "again, as every few seconds" in said
