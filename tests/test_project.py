"""The frame around the code: what is committed, pinned, built and promised by the Makefile and the Dockerfile."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SKIPPED_FOLDERS = {
    ".git", ".venv", ".spendgate", ".cache", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache",
    ".hypothesis", "node_modules", "results", "dist",
}  # fmt: skip
LOCKS = ("requirements.lock", ".make/build.lock", ".make/dev.lock")
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


@cache
def tree() -> tuple[Path, ...]:
    """Every file of the project, whether committed yet or not; nothing that a tool made."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS and not name.endswith(".egg-info")]
        found += [Path(folder) / name for name in files if name != ".coverage" and not name.startswith("uv.lock")]
    return tuple(sorted(found))


@cache
def texts() -> dict[str, str]:
    """Path from the root -> text, for the files that are text."""
    found = {}
    for path in tree():
        content = path.read_bytes()
        if b"\0" not in content[:4096]:
            found[path.relative_to(ROOT).as_posix()] = content.decode("utf-8")
    return found


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / name).read_text()))


def offending_lines(pattern: str, *, flags: int = 0, but: tuple[str, ...] = ()) -> list[str]:
    expression = re.compile(pattern, flags)
    return [
        f"{file}:{number}: {line.strip()[:120]}"
        for file, text in texts().items()
        if file not in but
        for number, line in enumerate(text.splitlines(), 1)
        if expression.search(line)
    ]


# --- the tree ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        "README.md", "CHANGELOG.md", "LICENSE", "Makefile", "Dockerfile", "pyproject.toml", "rules.yaml", ".ci/run",
        "docs/architecture.md", "docs/redis.md", "bench/README.md", *LOCKS,
    ],
)  # fmt: skip
def test_the_files_a_visitor_looks_for_are_there_and_say_something(file: str) -> None:
    assert (ROOT / file).stat().st_size > 40


def test_the_top_of_the_tree_holds_what_a_visitor_expects_and_no_more() -> None:
    expected = {
        "proxy", "rules.yaml", "tests", "Dockerfile", "pyproject.toml", "README.md", "docs", "bench", "Makefile",
        "CHANGELOG.md", "LICENSE", "requirements.lock",
    }  # fmt: skip
    top = {path.relative_to(ROOT).parts[0] for path in tree()}
    assert {name for name in top if not name.startswith(".")} == expected


def test_nothing_is_left_for_later() -> None:
    # The words are spelt apart so that this file does not find itself.
    words = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "Not" + "Implemented(Error)?", "not " + "implemented"]
    assert not offending_lines(rf"\b({'|'.join(words)})\b", but=("LICENSE",))


def test_no_machine_of_anybody_is_named() -> None:
    # Home folders and work folders of whoever wrote a file; a user's paths in examples start elsewhere.
    homes = [
        r"/ro" + r"ot/",
        r"/wo" + r"rk/",
        r"/ho" + r"me/\w",
        r"/Us" + r"ers/\w",
        r"C:\\Us" + r"ers",
    ]
    assert not offending_lines("|".join(homes))


def test_no_package_index_or_mirror_is_named() -> None:
    hosts = [
        "pypi" + r"\.org",
        "pythonhosted" + r"\.org",
        "registry" + r"\.npmjs",
        "npmjs" + r"\.(org|com)",
        "deb" + r"\.debian",
    ]
    options = ["--index" + "-url", "--extra" + "-index", "--trusted" + "-host"]
    assert not offending_lines("|".join(hosts + options))


def test_no_secret_is_committed() -> None:
    shapes = [
        r"\bsk-[A-Za-z0-9]{20,}",
        r"\bAKIA[A-Z0-9]{16}\b",
        "BEGIN [A-Z ]*PRIVATE " + "KEY",
        r"\bghp_[A-Za-z0-9]{30,}",
    ]
    assert not offending_lines("|".join(shapes))


def test_every_text_is_utf8_without_carriage_returns_and_ends_with_a_newline() -> None:
    odd = [
        file
        for file, text in texts().items()
        if text
        and file != "LICENSE"
        and (not text.endswith("\n") or "\r" in text)
        and not file.startswith("tests/rules/bad/")
    ]
    assert not odd


def test_scripts_can_be_executed() -> None:
    for script in (".ci/run", ".make/make-venv", ".make/system-packages"):
        assert (ROOT / script).stat().st_mode & stat.S_IXUSR, f"{script} is not executable"


# --- pins -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_of_a_lock_has_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert PIN.match(entry), f"{name}: not pinned: {entry.splitlines()[0]}"
        assert "--hash=sha256:" in entry, f"{name}: no hash: {entry.splitlines()[0]}"


def test_the_locks_agree_and_hold_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    every = pins(".make/dev.lock")
    for name in ("requirements.lock", ".make/build.lock"):
        assert pins(name).items() <= every.items(), f"{name} and .make/dev.lock disagree: make lock"

    def names(declared: list[str]) -> set[str]:
        return {re.split(r"[^A-Za-z0-9._-]", text)[0].lower().replace("_", "-").replace(".", "-") for text in declared}

    assert names(project["project"]["dependencies"]) <= pins("requirements.lock").keys(), "make lock"
    assert names(project["dependency-groups"]["dev"]) <= every.keys(), "make lock"
    assert names(project["build-system"]["requires"]) <= pins(".make/build.lock").keys(), "make lock"


def test_what_runs_is_free_of_test_and_build_tools() -> None:
    assert not {"pytest", "mypy", "ruff", "hatchling", "hypothesis", "pip", "uv"} & pins("requirements.lock").keys()


# --- Makefile ---------------------------------------------------------------------------------------------------------


def make(*words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    return subprocess.run(["make", "-C", str(ROOT), *words], capture_output=True, text=True, check=False, env=env)


def test_make_alone_lists_every_target_a_person_may_want() -> None:
    shown = make()
    assert shown.returncode == 0, shown.stderr
    assert {"run", "demo", "test", "bench", "bench-overshoot", "lock", "format", "clean", "docker-lint"} <= {
        line.split()[1] for line in shown.stdout.splitlines() if line.startswith("  make ")
    }


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("run", "spendgate serve --rules rules.yaml --data .spendgate"),
        ("demo", "spendgate demo"),
        ("test", "-m pytest"),
        ("test", "ruff format --check"),
        ("test", "ruff check"),
        ("test", ".venv/bin/mypy"),
        ("bench", "bench/throughput.py"),
        ("bench-overshoot", "bench/overshoot.py"),
    ],
)
def test_a_target_does_what_it_says(target: str, command: str) -> None:
    planned = make("--dry-run", target)
    assert planned.returncode == 0, planned.stderr
    assert command in planned.stdout


def test_run_and_demo_hand_the_terminal_over() -> None:
    # Without exec a shell would stand between Ctrl-C and the proxy.
    recipes = (ROOT / "Makefile").read_text()
    assert "@exec $(BIN)/spendgate serve" in recipes
    assert "@exec $(BIN)/spendgate demo" in recipes


def test_clean_never_touches_the_counters() -> None:
    planned = make("--dry-run", "clean").stdout
    assert ".venv" in planned
    assert ".spendgate" not in planned


def test_ci_only_calls_make_test() -> None:
    lines = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[-1] == "exec make test"
    assert len(lines) == 3


@pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell")
@pytest.mark.parametrize("script", [".make/make-venv", ".make/system-packages"])
def test_shell_scripts_parse(script: str) -> None:
    subprocess.run(["sh", "-n", str(ROOT / script)], check=True)


# --- Dockerfile -------------------------------------------------------------------------------------------------------


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "make test installs hadolint beside this Python"
    done = subprocess.run(
        [hadolint, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_nobody_special_and_says_when_it_is_healthy() -> None:
    text = dockerfile()
    final = text[text.rindex("\nFROM ") :]
    user = re.search(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert user is not None
    assert int(user[1]) >= 1000
    assert "HEALTHCHECK" in final
    assert "/readyz" in final
    assert "VOLUME /data" in final
    assert re.search(r"^EXPOSE 8080\b", final, re.MULTILINE)
    assert "--from=build /opt/spendgate" in final


def test_the_build_context_holds_what_the_dockerfile_copies_and_no_more() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile(), re.MULTILINE) for word in line.split()[:-1]
    }
    assert copied == allowed


@pytest.mark.timeout(300)
def test_the_dockerfiles_steps_give_a_program_that_becomes_healthy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / ".make/docker_steps.py"), "--keep", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-3000:]}"
    assert "HEALTHCHECK passed" in done.stdout
    assert "SIGTERM ended it with 0" in done.stdout
    held = set(done.stdout.split("INSTALLED ")[1].splitlines()[0].split())
    assert {"spendgate", "aiohttp", "redis"} <= held
    assert not {"pip", "setuptools", "hatchling", "pytest", "mypy"} & held
    shutil.rmtree(tmp_path, ignore_errors=True)


# --- documents --------------------------------------------------------------------------------------------------------


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{file} -> {target}"
        for file, text in texts().items()
        if file.endswith(".md")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if not re.match(r"[a-z]+:", target) and not ((ROOT / file).parent / target).exists()
    ]
    assert not broken


def test_make_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unknown = [
        f"{file}: make {target}"
        for file, text in texts().items()
        if file.endswith(".md")
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)
        if target not in targets
    ]
    assert not unknown


def test_the_picture_of_the_house_names_every_room() -> None:
    picture = texts()["docs/architecture.md"]
    rooms = {path.name for path in (ROOT / "proxy").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert not {room for room in rooms if f"{room}/" not in picture}
