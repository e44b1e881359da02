"""What a program gets instead of a call that the money does not allow.

A refusal is a value inside (`core.model.Denied`); here, at the edge towards programs, it becomes an exception, with the
same facts as the proxy's answer. Every one is a `BudgetExceededException`, so that a program that knows only this name
is safe. They can be pickled, as a pool of processes needs.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from proxy.core import denial, money
from proxy.core.model import Budget, Denied, Level, Reason
from proxy.core.text import say


def amount(atoms: int, currency: str) -> Decimal:
    """An amount for programs: exact, without idle zeros."""
    return Decimal(money.format_decimal(atoms, currency))


class ConfigurationError(Exception):
    """The rules, the settings or an argument cannot be used; `str()` says what is wrong and what would help."""


class BudgetExceededException(Exception):
    """A call was refused before it was made: nothing was charged. `str()` is a sentence in the rules' language.

    reason: "budget_restricted", "budget_insufficient", "budget_stopped" or "budget_busy"; subclasses have their own.
    api, rule, caller, id: of the call (rule "-" where none was found). budget, period, currency, limit, spent,
    reserved, estimate, resets_at: of the budget that refused; None where none did. retry_after: seconds after which it
    may pass, None where waiting does not help. should_retry: the refusal is about this moment, not about the money.
    """

    def __init__(self, denied: Denied, where: Where) -> None:
        super().__init__(denied, where)
        self._denied = denied
        self._where = where
        level: Level | None = denied.level
        self.reason: str = denied.reason.value
        self.status: int = denied.status
        self.id: str = where.id
        self.api: str = where.api
        self.rule: str = where.rule
        self.caller: str = where.caller
        self.should_retry: bool = denied.should_retry
        self.retry_after: int | None = denied.retry_after_s
        self.budget: str | None = None
        self.period: str | None = None
        self.currency: str | None = None
        self.limit: Decimal | None = None
        self.spent: Decimal | None = None
        self.reserved: Decimal | None = None
        self.estimate: Decimal | None = None
        self.resets_at: datetime | None = None
        if level is not None:
            self.budget, self.period, self.currency = level.budget, level.period, level.currency
            self.limit = amount(level.limit_atoms, level.currency)
            self.spent = amount(level.spent_atoms, level.currency)
            self.reserved = amount(level.reserved_atoms, level.currency)
            if denied.estimate_atoms is not None:
                self.estimate = amount(denied.estimate_atoms, level.currency)
            self.resets_at = datetime.fromtimestamp(level.resets_at_ms / 1000, ZoneInfo(where.timezone))

    def message(self, language: str | None = None) -> str:
        """The refusal in one to three sentences; language: "en" or "ko", None = the rules' own."""
        where = self._where
        chosen = language or where.language
        text = denial.sentence(self._denied, chosen, where.timezone, where.restrict_bp)
        return f"{text} {say(where.hint, chosen)}" if where.hint else text

    def __str__(self) -> str:
        return self.message()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason!r}, api={self.api!r}, budget={self.budget!r})"


class RateLimitedException(BudgetExceededException):
    """A rate limit has no room for the call now: see `retry_after`. reason: "rate_limited"."""


class CircuitOpenException(BudgetExceededException):
    """The API fails, and its circuit breaker lets no call through at the moment. reason: "circuit_open"."""


class ServiceStoppedException(BudgetExceededException):
    """Somebody stopped the API, the rule, the caller or all paid calls by hand. reason: "service_stopped"."""


class StoreUnavailableException(BudgetExceededException):
    """The store that counts the money does not answer, and the rules let nothing pass unseen.

    reason: "store_unavailable".
    """


class NoRuleException(BudgetExceededException):
    """No rule prices the call. reason: "no_rule"."""


class UnknownCallerException(BudgetExceededException):
    """The rules ask who calls, and the program has not said it, or said a name they do not know.

    reason: "unknown_caller".
    """


class Where:
    """What a refusal says beside the decision: whose call it was, and how it is told."""

    __slots__ = ("api", "caller", "hint", "id", "language", "restrict_bp", "rule", "timezone")

    def __init__(
        self,
        call_id: str,
        api: str,
        rule: str,
        caller: str,
        language: str,
        timezone: str,
        restrict_bp: int = 9500,
        hint: str = "",
    ) -> None:
        self.id = call_id
        self.api = api
        self.rule = rule
        self.caller = caller
        self.language = language
        self.timezone = timezone  # of the budget that refused, else of the rules
        self.restrict_bp = restrict_bp
        self.hint = hint  # a text's key: what would help, beside what the refusal says


_KINDS: dict[str, type[BudgetExceededException]] = {
    "rate_limited": RateLimitedException,
    "circuit_open": CircuitOpenException,
    "service_stopped": ServiceStoppedException,
    "store_unavailable": StoreUnavailableException,
    "no_rule": NoRuleException,
    "unknown_caller": UnknownCallerException,
}


def refusal(
    denied: Denied,
    *,
    call_id: str,
    api: str,
    rule: str,
    caller: str,
    budgets: tuple[Budget, ...],
    language: str,
    timezone: str,
    hint: str = "",
) -> BudgetExceededException:
    """The exception of a refusal. budgets: those that were asked; hint: a text's key for when the money does not do."""
    named = denied.level.budget if denied.level is not None else None
    budget = next((one for one in budgets if one.name == named), None)
    too_dear = denied.reason in (Reason.BUDGET_INSUFFICIENT, Reason.BUDGET_STOPPED, Reason.BUDGET_BUSY)
    where = Where(
        call_id,
        api,
        rule,
        caller,
        language,
        budget.timezone if budget is not None else timezone,
        budget.restrict_bp if budget is not None else 9500,
        hint if too_dear else "",
    )
    return _KINDS.get(denied.reason.value, BudgetExceededException)(denied, where)
