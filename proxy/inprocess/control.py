"""A function under budget: from its arguments to the question, and from the answer to an admitted call or a refusal.

What does not depend on the arguments is worked out once for each set of rules, and an estimate that depends on nothing
but the day once a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from proxy.core import match
from proxy.core.guards import Guards
from proxy.core.model import Admitted, Ask, Budget, Denied, Priority, RuleSet
from proxy.inprocess.call import Call
from proxy.inprocess.errors import BudgetExceededException, refusal
from proxy.inprocess.host import Host
from proxy.inprocess.question import (
    METHOD,
    Choice,
    Question,
    Subject,
    Terms,
    choose,
    guards,
    lasts_a_day,
    looks_into_arguments,
    question,
    question_of_the_day,
    subject,
)
from proxy.state.line import Line

log = structlog.get_logger()


class Control:
    """A function under budget: its terms, and what follows from them for the rules of the moment (kept)."""

    __slots__ = ("_known", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._known: _Known | None = None

    def begin(self, host: Host, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Ask for permission and wait for it. Raises BudgetExceededException and ConfigurationError."""
        asked, ask = self._question(host, args, kwargs)
        return self._answered(host, asked, ask, *host.ask(asked, ask))

    async def begin_async(self, host: Host, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """The same in an event loop."""
        asked, ask = self._question(host, args, kwargs)
        return self._answered(host, asked, ask, *await host.ask_async(asked, ask))

    def _question(self, host: Host, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Question, Ask]:
        now_ms = host.gate.now_ms()
        known = self._known
        if known is None or known.rules is not host.rules or known.caller != host.caller:
            known = self._known = _Known(host.rules, self.terms, host.caller)
        asked = known.of_the_day
        if asked is None or not asked.holds_at(now_ms):
            asked = self._asked(host, known, args, kwargs, now_ms)
        return asked, self._ask(host, known, asked, now_ms)

    def _asked(
        self, host: Host, known: _Known, args: tuple[Any, ...], kwargs: Mapping[str, Any], now_ms: int
    ) -> Question:
        choice = known.choice
        if choice is None:
            assert known.subject is not None  # noqa: S101 - without one the choice is a refusal
            choice = choose(known.subject, self.terms, args, kwargs)
        if isinstance(choice, Denied):
            raise self._refused(host, choice, None)
        if choice is known.choice and lasts_a_day(choice, self.terms):
            asked = known.of_the_day = question_of_the_day(choice, self.terms, now_ms)
            return asked
        return question(choice, self.terms, args, kwargs, now_ms)

    def _ask(self, host: Host, known: _Known, asked: Question, now_ms: int) -> Ask:
        rule, estimate, whose = asked.rule, asked.estimate, asked.subject
        free = asked.observed or estimate.basis == "free" or not self.terms.priced
        chain, guarded = known.chain_of(asked, self.terms)
        return Ask(
            id=host.ids.new(now_ms),
            at_ms=now_ms,
            api=whose.api.name,
            rule=rule.id,
            caller=whose.caller.name,
            method=METHOD,
            path=self.terms.name,
            priority=Priority.ESSENTIAL if self.terms.essential else rule.priority,
            budgets=() if free else chain,
            estimate=estimate,
            currency=known.rules.currency,
            timezone=known.rules.timezone,
            free=free,
            guards=guarded,
        )

    def _answered(self, host: Host, asked: Question, ask: Ask, answer: Admitted | Denied, line: Line | None) -> Call:
        if isinstance(answer, Denied):
            raise self._refused(host, answer, ask, asked)
        return Call(host, self.terms, asked, answer, line)

    def _refused(
        self, host: Host, denied: Denied, ask: Ask | None, asked: Question | None = None
    ) -> BudgetExceededException:
        rules = asked.subject.rules if asked is not None else host.rules
        terms = self.terms
        log.info("call.denied", reason=denied.reason.value, api=terms.api, function=terms.name)
        host.denied(denied.reason, terms.api if ask is not None else "-", rules.timezone)
        unseen = asked is not None and not asked.given and asked.rule.price.catalog and asked.estimate.model is None
        return refusal(
            denied,
            call_id=ask.id if ask is not None else "",
            api=terms.api,
            rule=ask.rule if ask is not None else "-",
            caller=ask.caller if ask is not None else terms.caller or host.caller or "-",
            budgets=ask.budgets if ask is not None else (),
            language=rules.language,
            timezone=rules.timezone,
            hint="inprocess.model_unseen" if unseen else "",
        )


class _Known:
    """What the rules of the moment make of a function's terms.

    choice None: it depends on the arguments. of_the_day: the question of every call of its day,
    where there is one.
    """

    __slots__ = ("_chains", "caller", "choice", "of_the_day", "rules", "subject")

    def __init__(self, rules: RuleSet, terms: Terms, caller: str | None) -> None:
        found = subject(rules, terms, caller)
        self.rules = rules
        self.caller = caller
        self.subject: Subject | None = None
        self.choice: Choice | Denied | None = None
        if isinstance(found, Denied):
            self.choice = found
        else:
            self.subject = found
            self.choice = None if looks_into_arguments(found, terms) else choose(found, terms, (), {})
        self.of_the_day: Question | None = None
        self._chains: dict[str, tuple[tuple[Budget, ...], Guards]] = {}  # by rule

    def chain_of(self, asked: Question, terms: Terms) -> tuple[tuple[Budget, ...], Guards]:
        """Budgets and guards of a rule's calls: always the same objects, because the gate knows them by identity."""
        found = self._chains.get(asked.rule.id)
        if found is None:
            whose, rule = asked.subject, asked.rule
            chain = match.chain(self.rules, whose.api, rule, whose.caller)
            found = self._chains[rule.id] = (chain, guards(whose, rule, terms))
        return found
