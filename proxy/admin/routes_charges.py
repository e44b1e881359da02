"""Outside costs: what was paid somewhere else, entered once by its idempotency key."""

from __future__ import annotations

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.core import money
from proxy.core.admin_model import Role
from proxy.core.money import NoRate
from proxy.state.charges import KeyTaken, enter_keyed
from proxy.state.gate import Gate

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class ChargeSpec(Asks):
    key: str = Field(min_length=1, max_length=200, description="Idempotency key: the same key is the same charge.")
    name: str = Field(
        max_length=64, pattern=_NAME, description="Whose cost it is; an API's name counts for its budgets."
    )
    amount: str = Field(max_length=40, description="More than nothing, in `currency`.")
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", description="Left out: that of the rules.")
    text: str = Field("", max_length=300, description="What it was for.")


class Charged(Answer):
    id: str = Field(description="Of the ledger's entry.")
    new: bool = Field(description="False: the key had been used for this very charge.")


async def charge(call: Call) -> Charged:
    rules, body = call.rules, call.body
    currency = body.currency or rules.currency
    atoms = money.atoms_of(body.amount, currency)
    if atoms is None or not 0 < atoms <= money.LIMIT_ATOMS:
        raise Problem(422, "bad_amount")
    gate = Gate(call.desk.store, call.desk.keys, clock=call.desk.clock, timezone=rules.timezone)
    scope = body.name if body.name in {api.name for api in rules.apis} else None
    amount = money.from_atoms(atoms, currency)
    try:
        entry, new = await enter_keyed(
            call.client, gate, rules, key=body.key, api=body.name, text=body.text, amount=amount, currency=currency,
            scope=scope,
        )  # fmt: skip
    except KeyTaken:
        raise Problem(409, "key_taken") from None
    except NoRate as error:
        raise Problem(422, "no_rate", currency=error.currency) from None
    return Charged(id=entry, new=new)


ROUTES = [
    Route("POST", "/charges", Role.OPERATOR, "Enter an outside cost, once", charge, answers=Charged, takes=ChargeSpec,
          status=201, problems=(409,)),
]  # fmt: skip
