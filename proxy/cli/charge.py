"""`spendgate charge NAME AMOUNT`: a cost that no call made, into the budgets and the ledger."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.emergency import common, run
from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option

if TYPE_CHECKING:
    from proxy.state.switches import Desk


def command(frame: Frame) -> click.Command:
    def charge(name: str, amount: str, **options: Any) -> int:
        return run(frame, lambda desk: _charge(frame, desk, name, amount, options), options)

    return Command(
        "charge",
        frame,
        callback=charge,
        params=[
            click.Argument(["name"]),
            click.Argument(["amount"]),
            option(frame, "--key", text="charge_key", metavar="KEY"),
            option(frame, "--currency", text="charge_currency", metavar="CODE"),
            option(frame, "--text", text="charge_text", metavar="TEXT"),
            *common(frame),
        ],
    )


async def _charge(frame: Frame, desk: Desk, name: str, text: str, options: dict[str, Any]) -> int:
    from proxy.core import money
    from proxy.core.currencies import CURRENCIES
    from proxy.rules_values import name as valid_name
    from proxy.state.charges import KeyTaken, enter_keyed
    from proxy.state.gate import Gate
    from proxy.state.store import Store

    rules = desk.rules
    currency = options["currency"] or rules.currency
    atoms = money.atoms_of(text, currency) if currency in CURRENCIES else None
    if atoms is None or not 0 < atoms <= money.LIMIT_ATOMS:
        frame.fail("charge.bad_amount", amount=text[:40], currency=currency[:10])
    try:
        valid_name(name)
    except ValueError:
        frame.fail("charge.bad_name", name=name[:60])
    store = Store(desk.client.url, client_name="spendgate-charge")
    await store.start()
    try:
        gate = Gate(store, desk.keys, timezone=rules.timezone)
        entry, new = await enter_keyed(
            desk.client,
            gate,
            rules,
            key=options["key"] or f"cli-{time.time_ns()}",
            api=name,
            text=options["text"] or "",
            amount=money.from_atoms(atoms, currency),
            currency=currency,
            scope=name if name in {api.name for api in rules.apis} else None,
        )
    except KeyTaken:
        frame.fail("charge.key_taken", code=Exit.FOUND, used=options["key"])
    except money.NoRate:
        frame.fail("charge.no_rate", currency=currency)
    finally:
        await store.close()
    if options["as_json"]:
        click.echo(json.dumps({"id": entry, "new": new}))
    else:
        told = "charge.done" if new else "charge.before"
        click.echo(frame.say(told, amount=money.format_text(atoms, currency), name=name, id=entry))
    return Exit.OK
