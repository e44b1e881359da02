"""Decides how a stream fares that the money does not reach for: how little it may begin with, what it owes when cut.

Only for rules that reserve what was learned and truncate what meets the end (`estimate: learned`,
`on_exhausted: truncate`): there a reservation is a guess that a running stream may outgrow, so a call need not be
refused because the guess no longer fits. Asks nobody and ends nothing itself.
"""

from __future__ import annotations

from msgspec.structs import replace

from proxy.core import price, reading
from proxy.core.model import Bill, Estimate, EstimateMode, Level, OnExhausted, Outbound, Rule, RuleSet, Usage

# Less than the input and so many output tokens is not worth beginning with: it buys words, not an answer.
WORTH_TOKENS = 16
# Nor is less than this share of what nearly all such calls cost (about half of them cost less, their costs being spread
# as they are): a stream that is sure to be cut spends money that a later, shorter one could have made use of.
WORTH_SHARE = 4

TRUNCATED = "truncated"

# Streams that need no word in the body: Gemini's, Vertex's and Bedrock's.
_STREAMING = (":streamGenerateContent", ":streamRawPredict", "/converse-stream", "/invoke-with-response-stream")


def lesser(
    rules: RuleSet, rule: Rule, outbound: Outbound, estimate: Estimate, level: Level | None, now_ms: int
) -> tuple[Estimate, ...]:
    """What else to ask for, in this order, when a call's estimate does not fit. Empty: nothing less makes sense.

    First all that is free in the budget that refused (`level`), so that streams at the end of a budget run one after
    the other to their own ends, instead of many at once to a cut; then the least that is worth beginning with, whose
    refusal tells whether waiting can help.
    """
    drawn = rule.price.tiers is not None or rule.price.free_tier is not None  # never grows, so it is never cut
    if (
        rule.on_exhausted is not OnExhausted.TRUNCATE
        or rule.estimate is not EstimateMode.LEARNED
        or estimate.basis not in ("learned", "worst_case")
        or drawn
        or not asks_for_stream(outbound)
    ):
        return ()
    whole = estimate.cost.atoms[rules.currency]
    least = price.running(rules, rule, outbound, estimate, Usage(), now_ms, WORTH_TOKENS)
    if estimate.basis == "learned":
        least = max(least, whole // WORTH_SHARE)
    free = 0
    if level is not None and (asked := estimate.cost.atoms.get(level.currency, 0)) > 0:
        free = whole * (level.limit_atoms - level.spent_atoms - level.reserved_atoms) // asked
    amounts = (free, least) if free > least else (least,)
    return tuple(price.estimate(rules, rule, outbound, now_ms, atoms) for atoms in amounts if 0 < atoms < whole)


def asks_for_stream(outbound: Outbound) -> bool:
    """Whether the answer will be a stream, as far as the request says so itself."""
    if outbound.path.endswith(_STREAMING):
        return True
    asked = reading.value(outbound.body) if outbound.body else None
    return isinstance(asked, dict) and asked.get("stream") is True


def truncated(
    rules: RuleSet,
    rule: Rule,
    outbound: Outbound,
    estimate: Estimate,
    usage: Usage,
    reserved_atoms: int,
    unseen: int,
    position: int | None,
    now_ms: int,
) -> Bill:
    """The bill of a stream that was ended early: what was seen, and what its API may have produced unseen.

    An API goes on until it notices that nobody listens, and charges for that. `unseen` output tokens are counted as
    produced, or as many of them as the reservation (atoms of the rules' currency) still covers, so that the books are
    never below the truth and the budget is not exceeded by them.
    """
    seen = max(usage.counts.get("output_tokens", 0), usage.tokens_seen)
    for more in range(unseen, -1, -1):
        bill = price.actual(rules, rule, outbound, estimate, replace(usage, tokens_seen=seen + more), position, now_ms)
        if bill.cost.atoms[rules.currency] <= reserved_atoms:
            break
    return replace(bill, note=TRUNCATED) if bill.note == "cut" else bill
