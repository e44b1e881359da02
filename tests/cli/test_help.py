"""The first thing a person meets: help in two languages, sentences instead of stack traces, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from proxy.cli.app import COMMANDS, main
from proxy.cli.frame import Exit, choose_language
from proxy.cli.help import cells, wrap
from proxy.core.text import CATALOGUE


def command(
    capfd: pytest.CaptureFixture[str], *arguments: str, environ: dict[str, str] | None = None
) -> tuple[int, str, str]:
    code = main(arguments, environ if environ is not None else {})
    out, err = capfd.readouterr()
    return int(code), out, err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_command_explains_itself_in_both_languages(
    name: str, language: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(capfd, name, "--lang", language, "--help", environ={"COLUMNS": "80"})
    assert (code, err) == (0, "")
    assert CATALOGUE["cli.help.examples"][language] in out
    assert CATALOGUE["cli.help.options"][language] in out
    assert f"spendgate {name}" in out
    examples = out.index(CATALOGUE["cli.help.examples"][language])
    assert max(cells(line) for line in out[:examples].splitlines()) <= 96


def test_help_without_a_command_lists_all_of_them(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("--help",), ("-h",)):
        code, out, _ = command(capfd, *arguments)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")][: len(COMMANDS)] == list(
            COMMANDS
        )


@pytest.mark.parametrize(
    ("arguments", "environ", "language"),
    [
        ([], {}, "en"),
        ([], {"LANG": "ko_KR.UTF-8"}, "ko"),
        ([], {"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ([], {"LC_ALL": "ko_KR.UTF-8", "LANG": "en_US.UTF-8"}, "ko"),
        ([], {"SPENDGATE_LANG": "ko", "LC_ALL": "en_US.UTF-8"}, "ko"),
        (["--lang", "en"], {"SPENDGATE_LANG": "ko"}, "en"),
        (["status", "--lang=ko"], {}, "ko"),
        (["run", "--", "prog", "--lang", "ko"], {}, "en"),
    ],
)
def test_the_language_is_the_one_that_was_asked_for(
    arguments: list[str], environ: dict[str, str], language: str
) -> None:
    assert choose_language(arguments, environ) == language


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bogus"], ["no option --bogus", "spendgate --help"]),
        (["chek"], ["no command “chek”", "Did you mean check?"]),
        (["status", "--jsno"], ["no option --jsno", "Did you mean --json?", "spendgate status --help"]),
        (["completion"], ["bash|zsh|fish", "missing"]),
        (["completion", "csh"], ["csh"]),
        (["status", "--lang", "de"], ["--lang", "de"]),
        (["serve", "--listen", "nowhere"], ["--listen", "nowhere", "HOST:PORT"]),
        (["serve", "--workers", "many"], ["--workers", "many"]),
        (["serve", "--redis", "http://x"], ["--redis", "redis://"]),
        (["price"], ["URL"]),
    ],
)
def test_a_wrong_command_line_is_answered_with_a_sentence(
    arguments: list[str], words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(capfd, *arguments)
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith("spendgate: ")
    assert "Traceback" not in err
    for word in words:
        assert word in err


def test_a_wrong_command_line_is_answered_in_korean(capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = command(capfd, "chek", environ={"LANG": "ko_KR.UTF-8"})
    assert code == Exit.USAGE
    assert "‘chek’ 명령은 없습니다. 혹시 check인가요?" in err


def test_a_fault_of_ours_is_one_line_and_a_way_to_the_details(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise RuntimeError("out of\norder")

    monkeypatch.setattr("proxy.cli.schema.text", broken)
    code, _, err = command(capfd, "schema")
    assert code == Exit.INTERNAL
    assert err.splitlines()[0] == "spendgate: something went wrong inside spendgate (RuntimeError: out of order)."
    assert "SPENDGATE_DEBUG=1" in err
    assert "Traceback" not in err
    code, _, err = command(capfd, "schema", environ={"SPENDGATE_DEBUG": "1"})
    assert code == Exit.INTERNAL
    assert "Traceback" in err


def test_ctrl_c_ends_quietly(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("proxy.cli.schema.text", interrupted)
    code, _, err = command(capfd, "schema")
    assert code == Exit.INTERRUPTED
    assert "Traceback" not in err


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_has_enough_is_no_error() -> None:
    program = f"{sys.executable} -m proxy schema | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_help_answers_at_once_and_loads_nothing_heavy() -> None:
    took = []
    for _ in range(5):
        before = os.times()
        assert python("-m", "proxy", "--help").returncode == 0
        after = os.times()
        took.append(after.children_user + after.children_system - before.children_user - before.children_system)
    # Processor time, and the best of five, because the machine does other things too.
    assert min(took) < 0.3, f"{min(took) * 1000:.0f} ms"
    heavy = "rich aiohttp redis yaml genai_prices pydantic structlog"
    code = (
        "import sys; from proxy.cli.app import main; main(['--help'], {});"
        f"sys.exit(','.join(name for name in {heavy.split()!r} if name in sys.modules) or 0)"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_check_starts_no_server_library() -> None:
    code = (
        "import sys; from proxy.cli.app import main; main(['check', '-'], {});"
        "sys.exit(','.join(name for name in ('aiohttp', 'redis', 'rich') if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], input="{}", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capfd, "completion", shell)
    assert (code, err) == (0, "")
    assert "_SPENDGATE_COMPLETE" in out
    assert "spendgate" in out


def test_completion_knows_commands_and_options() -> None:
    for words, wanted in (("spendgate st", "status"), ("spendgate status --j", "--json")):
        done = python(
            "-m", "proxy", _SPENDGATE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
        )
        assert f"plain,{wanted}" in done.stdout


def test_korean_text_is_wrapped_by_its_width_on_the_screen() -> None:
    lines = wrap("예산이 떨어지면 호출을 거절합니다 " * 6, 40, "  ")
    assert len(lines) > 4
    assert all(cells(line) <= 40 and line.startswith("  ") for line in lines)
    assert cells("예산 a") == 6
