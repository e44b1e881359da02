"""The page that a starting proxy shows: where it is, where the money stands, and three lines to paste.

Pure but for asking how wide the screen is: facts in, text out. app.py gathers the facts and prints the text.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

from proxy import settings
from proxy.cli.frame import colours, columns
from proxy.cli.levels import Level, table
from proxy.core.model import Api, RuleSet
from proxy.core.text import say
from proxy.started import Facts

if TYPE_CHECKING:
    from rich.console import Console

BUDGETS_SHOWN = 6
WIDEST = 96


def reachable(listen: str) -> str:
    """HOST:PORT to use on this machine: an address for everybody is reached on loopback."""
    host, _, port = listen.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("", "0.0.0.0", "[::]", "*") else listen  # noqa: S104 - read, not bound


def paste_lines(rules: RuleSet, listen: str) -> tuple[str, ...]:
    """Lines for a shell: one call with curl, a base URL, and the proxy variable."""
    root = f"http://{reachable(listen)}"
    openai = next((api for api in rules.apis if "api.openai.com" in (api.host, *api.hosts)), None)
    api = openai or (rules.apis[0] if rules.apis else None)
    lines: list[str] = []
    if api is not None:
        lines.append(_curl(api, root, openai is not None))
        suffix = "/v1" if openai else ""
        name = "OPENAI_BASE_URL" if openai else f"{api.name.upper().replace('-', '_')}_BASE_URL"
        lines.append(f"export {name}={root}/{api.mount}{suffix}")
    lines.append(f"export HTTP_PROXY={root} NO_PROXY=localhost,127.0.0.1")
    return tuple(lines)


def _curl(api: Api, root: str, openai: bool) -> str:
    target = f"{root}/{api.mount}/v1/models" if openai else f"{root}/{api.mount}/"
    key = "" if api.credentials or not openai else ' \\\n     -H "Authorization: Bearer $OPENAI_API_KEY"'
    return f"curl -i {target}{key}"


def render(facts: Facts, lang: str, stream: TextIO | None = None) -> str:
    """The page as it should be written to `stream` (standard output): coloured on a terminal, plain text elsewhere."""
    stream = stream or sys.stdout
    environ = settings.environ()
    blocks = stream.isatty() and "utf" in (stream.encoding or "ascii").lower()
    return _render(facts, lang, coloured=colours(environ, stream), blocks=blocks, width=columns(environ, stream))


def _render(facts: Facts, lang: str, *, coloured: bool, blocks: bool, width: int | None) -> str:
    from rich.console import Console

    if width is None:
        width = Console().width
    console = Console(
        file=io.StringIO(),
        force_terminal=coloured,
        color_system="256" if coloured else None,
        width=max(40, min(WIDEST, width)),
        highlight=False,
        markup=False,
        emoji=False,
    )
    _head(console, facts, lang)
    _budgets(console, facts, lang, blocks=blocks)
    _section(console, say("cli.start.paste", lang))
    for line in paste_lines(facts.rules, facts.listen):
        for part in line.splitlines():
            console.print(f"  {part}", style="bold", soft_wrap=True)
    _section(console, say("cli.start.redis", lang))
    console.print(f"  {facts.redis_cli}", style="bold", soft_wrap=True)
    console.print()
    console.print(f"  {say('cli.start.stop', lang)}", style="bright_black")
    console.print()
    assert isinstance(console.file, io.StringIO)  # noqa: S101 - made nine lines above
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def _head(console: Console, facts: Facts, lang: str) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print()
    name = Text.assemble((f" spendgate {facts.version} ", "bold reverse"), "  ", say("cli.start.tagline", lang))
    console.print(name)
    console.print()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column(overflow="fold")
    rules = facts.rules
    grid.add_row(f"  {say('cli.start.listen', lang)}", Text(f"http://{facts.listen}", style="bold cyan"))
    grid.add_row(f"  {say('cli.start.admin', lang)}", f"http://{facts.admin}/healthz")
    text = say("cli.start.rules_value", lang, path=rules.source, apis=len(rules.apis), digest=rules.digest)
    grid.add_row(f"  {say('cli.start.rules', lang)}", text)
    workers = f", {say('cli.start.workers', lang, count=facts.workers)}" if facts.workers > 1 else ""
    store = say("cli.start.embedded", lang, place=facts.store) if facts.embedded else facts.store
    grid.add_row(f"  {say('cli.start.store', lang)}", f"{store}{workers}")
    console.print(grid)


def _section(console: Console, title: str) -> None:
    console.print()
    console.print(f"  {title}", style="bright_black")


def _budgets(console: Console, facts: Facts, lang: str, *, blocks: bool) -> None:
    _section(console, say("cli.start.budgets", lang))
    levels = [Level.of(budget) for budget in facts.levels]
    if not levels:
        console.print(f"  {say('cli.start.no_budgets', lang)}")
        return
    console.print(table(levels[:BUDGETS_SHOWN], lang, blocks=blocks))
    if len(levels) > BUDGETS_SHOWN:
        more = say("cli.start.more_budgets", lang, count=len(levels) - BUDGETS_SHOWN)
        console.print(f"  {more}", style="bright_black")
