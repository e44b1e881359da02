"""The grammar of `optimize`: what recommendations may compare with."""

from __future__ import annotations

from proxy.rules_grammar import Model, key, must
from proxy.rules_values import Amount, Currency, Name


class OfferSpec(Model):
    """A subscription that could be taken instead of paying for each call."""

    subscription: Name = must("What it is called.")
    api: Name = must("The API whose calls it covers, all of them.")
    price: Amount = must("Price of a month.")
    currency: Currency = key("Currency of the price; without it that of the file.")
