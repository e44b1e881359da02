"""Which hosts the rules ask to intercept, and what an authority for them may sign."""

from __future__ import annotations

import pytest

from proxy.core.interception import Scope, hosts, scope
from proxy.core.model import RuleSet
from proxy.rules_file import load_text


def rule_set(*apis: str) -> RuleSet:
    prices = "    prices: [{per_request: 1}]\n"
    text = "version: 1\ncurrency: KRW\napis:\n" + "".join(
        f"  - name: a{number}\n    {api}\n{prices}" for number, api in enumerate(apis)
    )
    loaded = load_text(text)
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    return loaded.rules


@pytest.mark.parametrize(
    ("api", "named", "names", "addresses"),
    [
        ("upstream: https://api.example.com", (), (), ()),
        ("{upstream: https://api.example.com, intercept: false}", (), (), ()),
        ("{upstream: https://api.example.com, intercept: true}", ("api.example.com",), ("api.example.com",), ()),
        (
            "{upstream: https://api.example.com, intercept: true, hosts: ['*.example.com', 'B.test:8443']}",
            ("*.example.com", "b.test", "api.example.com"),
            ("b.test", "example.com"),
            (),
        ),
        ("{upstream: http://sim.test, intercept: true, hosts: [api.test]}", ("api.test",), ("api.test",), ()),
        ("{upstream: 'https://127.0.0.2:8443', intercept: true}", ("127.0.0.2",), (), ("127.0.0.2",)),
    ],
)
def test_the_hosts_of_an_api(
    api: str, named: tuple[str, ...], names: tuple[str, ...], addresses: tuple[str, ...]
) -> None:
    rules = rule_set(api.strip("{}").replace(", intercept", "\n    intercept").replace(", hosts", "\n    hosts"))
    assert hosts(rules.apis[0]) == named
    assert scope(rules) == Scope(names, addresses)


def test_what_another_name_covers_is_left_out() -> None:
    rules = rule_set(
        "upstream: https://eu.api.example.com\n    intercept: true",
        "upstream: https://x.test\n    intercept: true\n    hosts: ['*.api.example.com']",
        "upstream: https://other.test",
    )
    assert scope(rules).hosts == ("api.example.com", "x.test")
