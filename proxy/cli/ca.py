"""`spendgate ca ...`: the local certificate authority behind `intercept: true`, for the person who must trust it.

Decides what is told about it and which shell lines and trust stores make programs accept it. Its key is never shown.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Exit, Failure, Frame
from proxy.cli.help import Command, option

if TYPE_CHECKING:
    from proxy.core.interception import Scope
    from proxy.core.model import RuleSet
    from proxy.data.ca import Authority, Change

ACTIONS = ("init", "show", "env", "install", "rotate")

# (folder of the system's own additional roots, the command that takes them in)
_STORES = (
    ("/usr/local/share/ca-certificates", ("update-ca-certificates",)),  # Debian, Ubuntu, Alpine
    ("/etc/pki/ca-trust/source/anchors", ("update-ca-trust", "extract")),  # Fedora, RHEL
    ("/etc/ca-certificates/trust-source/anchors", ("update-ca-trust",)),  # Arch
    ("/etc/pki/trust/anchors", ("update-ca-certificates",)),  # openSUSE
)
_INSTALLED = "spendgate.crt"


def command(frame: Frame) -> click.Command:
    def ca(action: str, as_json: bool, folder: str | None, **flags: Any) -> int:
        settings = frame.settings(**flags)
        home = settings.data / "ca"
        from proxy.cli.rules import load
        from proxy.data.ca import CaError

        rules = load(frame, settings.rules, keys=False)
        try:
            if action == "show":
                return _show(frame, home, rules, as_json=as_json)
            if action == "env":
                return _env(frame, home, rules)
            if action == "install":
                return _install(frame, home, rules, folder)
            return _make(frame, home, rules, anew=action == "rotate")
        except CaError as error:
            raise ca_failure(frame, error) from error

    return Command(
        "ca",
        frame,
        callback=ca,
        params=[
            click.Argument(["action"], type=click.Choice(ACTIONS), metavar="|".join(ACTIONS)),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--folder", text="ca_folder", metavar="DIR"),
            option(frame, "--json", "as_json", text="json", is_flag=True),
        ],
    )


def ca_failure(frame: Frame, error: Any) -> Failure:
    return Failure(frame.say(f"ca.error.{error.key}", **error.values), hint=frame.say("ca.error.hint"))


def ready(frame: Frame, home: Path, rules: RuleSet) -> Change | None:
    """The authority of these rules, made or issued anew where needed; None: they intercept nothing."""
    from proxy.core import interception
    from proxy.data import ca

    scope = interception.scope(rules)
    return ca.ensure(home, scope, datetime.now(UTC)) if scope else None


def tell(frame: Frame, change: Change) -> None:
    """Says on standard error that a new certificate must be trusted, and for what."""
    if change.kind != "kept":
        hosts = ", ".join(change.added or change.authority.scope.hosts)
        text = frame.say(f"ca.changed.{change.kind}", hosts=hosts, file=change.authority.folder / "ca.pem")
        click.echo(f"spendgate: {text}", err=True)


def _needed(frame: Frame, home: Path, rules: RuleSet) -> Change:
    change = ready(frame, home, rules)
    if change is None:
        frame.fail("ca.nothing", hint="ca.nothing_hint", path=rules.source, code=Exit.FOUND)
    return change


def _make(frame: Frame, home: Path, rules: RuleSet, *, anew: bool) -> int:
    from proxy.core import interception
    from proxy.data import ca

    scope = interception.scope(rules)
    change = ca.rotate(home, scope, datetime.now(UTC)) if anew and scope else _needed(frame, home, rules)
    click.echo(frame.say(f"ca.done.{change.kind}", file=home / ca.CERTIFICATE))
    _facts(frame, change.authority, scope)
    if change.kind != "kept":
        click.echo(frame.say(f"ca.changed.{change.kind}", hosts=", ".join(change.added), file=home / ca.CERTIFICATE))
        if change.removed:
            click.echo(frame.say("ca.removed", hosts=", ".join(change.removed)))
    click.echo(frame.say("ca.next"))
    return Exit.OK


def _show(frame: Frame, home: Path, rules: RuleSet, *, as_json: bool) -> int:
    from proxy.core import interception
    from proxy.data import ca

    scope = interception.scope(rules)
    authority = ca.load(home)
    if as_json:
        known = authority.scope.hosts if authority is not None else ()
        document = {
            "file": str(home / ca.CERTIFICATE) if authority is not None else None,
            "fingerprint": authority.fingerprint if authority is not None else None,
            "expires": authority.expires.isoformat() if authority is not None else None,
            "signs_for": list(known),
            "rules_intercept": list(scope.hosts),
        }
        click.echo(json.dumps(document, indent=2))
        return Exit.OK if authority is not None else Exit.FOUND
    if authority is None:
        frame.fail("ca.none", hint="ca.none_hint", folder=home, code=Exit.FOUND)
    click.echo(str(home / ca.CERTIFICATE))
    _facts(frame, authority, scope)
    return Exit.OK


def _facts(frame: Frame, authority: Authority, scope: Scope) -> None:
    rows = [
        ("fingerprint", f"SHA-256 {authority.fingerprint}"),
        ("expires", authority.expires.date().isoformat()),
        ("signs", ", ".join(authority.scope.hosts)),
    ]
    if authority.scope != scope:
        rows.append(("wanted", ", ".join(scope.hosts) or frame.say("ca.fact.nothing")))
    for name, value in rows:
        click.echo(f"  {frame.say(f'ca.fact.{name}')}: {value}")


def _env(frame: Frame, home: Path, rules: RuleSet) -> int:
    from proxy.cli.trust import variables

    change = _needed(frame, home, rules)
    tell(frame, change)
    for name, file in variables(home, frame.environ).items():
        click.echo(f"export {name}={shlex.quote(file)}")
    return Exit.OK


def _install(frame: Frame, home: Path, rules: RuleSet, folder: str | None) -> int:
    from proxy.data import ca

    change = _needed(frame, home, rules)
    tell(frame, change)
    source = home / ca.CERTIFICATE
    store = (folder, ()) if folder else next((row for row in _STORES if Path(row[0]).is_dir()), None)
    if store is None:
        frame.fail("ca.no_store", hint="ca.other_stores", file=source, code=Exit.FOUND)
    target, update = Path(store[0]) / _INSTALLED, store[1]
    if os.access(store[0], os.W_OK):
        shutil.copyfile(source, target)
        target.chmod(0o644)
        if update:
            done = subprocess.run(update, capture_output=True, text=True, check=False)  # noqa: S603 - the system's own
            if done.returncode:
                frame.fail("ca.update_failed", command=shlex.join(update), why=done.stderr.strip()[:200])
        click.echo(frame.say("ca.installed", file=target))
    else:
        click.echo(frame.say("ca.as_root"))
        click.echo(f"  sudo install -m 644 {shlex.quote(str(source.resolve()))} {shlex.quote(str(target))}")
        if update:
            click.echo(f"  sudo {shlex.join(update)}")
    click.echo(frame.say("ca.other_stores", file=source))
    return Exit.OK
