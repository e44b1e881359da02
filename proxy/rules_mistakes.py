"""Turns what is wrong with rules.yaml into mistakes that a person can act on: file, line, column, path, sentence, hint.

Takes pydantic's errors and core's Problems, and the marks of the YAML reader; gives sentences in English and Korean out
of core/text. Knows which part of a broken file is still worth checking, so that one run tells as much as it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.core.rules_checks import Path, Problem, nearest, path_text
from proxy.core.text import CATALOGUE, say


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a rules file. line and column are 1-based; severity is "error" or "warning".

    message and hint are whole sentences in English (`in_language` gives the others); hint is what would be right.
    """

    line: int
    column: int
    path: str
    message: str
    hint: str | None = None
    severity: str = "error"
    source: str = "rules.yaml"
    key: str = ""
    hint_key: str | None = None
    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def in_language(self, language: str) -> Mistake:
        """The same mistake with its sentences in "en" or "ko"."""
        return make(
            self.source,
            (self.line, self.column),
            self.path,
            self.key,
            self.hint_key,
            self.values,
            self.severity,
            language,
        )

    def render(self, language: str = "en") -> str:
        """One line: file:line:column: path: sentence, and the hint."""
        told = self.in_language(language)
        place = f"{self.source}:{self.line}:{self.column}: "
        path = f"{self.path}: " if self.path else ""
        warning = say("rules.warning", language) + " " if self.severity == "warning" else ""
        return place + path + warning + told.message + (f" {told.hint}" if told.hint else "")


def make(
    source: str,
    place: tuple[int, int],
    path: str,
    key: str,
    hint_key: str | None = None,
    values: Mapping[str, str] | None = None,
    severity: str = "error",
    language: str = "en",
) -> Mistake:
    """A mistake with the sentence `rules.<key>` and the hint `rules.hint.<hint_key>`."""
    shown = values or {}
    message = say(f"rules.{key}", language, **shown)
    hint = say(f"rules.hint.{hint_key}", language, **shown) if hint_key else None
    return Mistake(*place, path, message, hint, severity, source, key, hint_key, shown)


@dataclass(slots=True)
class Marks:
    """Where everything stands: (line, column) of each path's key and of its value."""

    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def clean(self, location: Iterable[str | int]) -> Path:
        """The longest part of a location that is in the file; what pydantic adds in between is left out."""
        path: Path = ()
        for part in location:
            if (*path, part) in self.values:
                path = (*path, part)
        return path

    def value(self, path: Path) -> tuple[int, int]:
        """The place of the nearest enclosing value that is in the file."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def key(self, path: Path) -> tuple[int, int]:
        return self.keys.get(path) or self.value(path)


# pydantic's own kinds of errors, and the sentence that says the same
_SENTENCES = {
    "missing": "missing",
    "extra_forbidden": "unknown_key",
    "model_type": "not_mapping",
    "model_attributes_type": "not_mapping",
    "dict_type": "not_mapping",
    "list_type": "not_list",
    "too_short": "too_short",
}
# the hint that goes with a sentence of its own
_HINTS = {
    "bad_currency": "currency_form",
    "bad_timezone": "timezone_form",
    "bad_duration": "duration_form",
    "bad_duration_range": "duration_form",
    "bad_period": "period_form",
    "bad_clock": "clock_form",
    "bad_status": "status_form",
    "bad_rounding": "rounding_form",
    "bad_rate_limit": "rate_limit_form",
    "bad_size": "size_form",
    "retry_failure": "retry_failure_form",
    "bad_test": "test_form",
    "regex_in_list": "regex_in_list",
    "not_percent": "percent_form",
    "not_vat": "vat_form",
    "not_amount": "amount_form",
    "bad_env_name": "env_name_form",
    "literal_key": "caller_key",
    "bad_date": "date_form",
    "bad_name": "name_form",
    "not_true": "remove_key",
    "bad_version": "version_form",
    "not_text": "quote",
    "not_mapping": "mapping_form",
    "not_list": "list_form",
}


def from_schema(error: Mapping[str, Any], marks: Marks, source: str, show: Callable[[object], str]) -> Mistake:
    """A mistake out of one of pydantic's errors."""
    from proxy.rules_schema import known_keys

    location: Path = tuple(part for part in error["loc"] if part != "[key]")
    kind = error["type"]
    key = _SENTENCES.get(kind, kind)
    path = marks.clean(location)
    values = {name: str(value) for name, value in (error.get("ctx") or {}).items()}
    values["got"] = "" if _may_be_secret(path) else values.get("got") or show(error.get("input"))
    if f"rules.{key}" not in CATALOGUE:
        key = "not_understood"
    hint = _HINTS.get(key)
    place = marks.value(path)
    if key == "missing":
        path = (*path, location[-1])
        values["got"] = str(location[-1])
        hint, values["example"] = "add_key", _EXAMPLES.get(values["got"], values["got"] + ": ...")
    elif key == "unknown_key":
        place = marks.key(path)
        known = known_keys(path[:-1])
        meant = nearest(str(path[-1]), known)
        values |= {"got": show(path[-1]), "meant": meant or "", "known": ", ".join(known)}
        hint = "did_you_mean" if meant else "known_are"
    elif key == "not_choice":
        meant = nearest(values["got"], values["choices"].split(", "))
        values["meant"] = meant or ""
        hint = "did_you_mean" if meant else None
    elif error["loc"][-1:] == ("[key]",):
        place = marks.key(path)
    elif key in ("bad_timezone", "bad_currency") and (meant := _meant(key, values["got"])):
        values["meant"] = meant
        hint = "did_you_mean"
    if key.startswith("not_") and error.get("input") is None and place != marks.key(path):
        key, hint = "nothing", "remove_or_fill"
    return make(source, place, path_text(path), key, hint, values)


_CURRENCY_WORDS = {"won": "KRW", "₩": "KRW", "원": "KRW", "dollar": "USD", "$": "USD", "euro": "EUR", "€": "EUR"}
_CURRENCY_WORDS |= {"yen": "JPY", "rmb": "CNY"}
# what a missing key may look like
_EXAMPLES = {
    "version": "version: 1",
    "name": "name: openai",
    "upstream": "upstream: https://api.example.com",
    "prices": "prices: [{per_request: 1}]",
    "limit": "limit: 15000",
    "count": "count: length(request.to)",
    "per": "per: month",
    "steps": "steps: [{up_to: 1000, price: 2}, {price: 1}]",
    "price": "price: 1",
    "to": "to: 0.01",
    "multiplier": "multiplier: 0.5",
    "since": "since: 2026-01-01",
    "rate": "rate: 1390",
    "header": "header: Authorization",
    "value": 'value: "Bearer ${API_KEY}"',
    "failures": "failures: 50%",
    "window": "window: 60s",
    "open_for": "open_for: 30s",
    "role": "role: operator",
    "token_env": "token_env: SPENDGATE_TOKEN_OPS",
    "ttl": "ttl: 10m",
    "from": 'from: "22:00"',
}


def _may_be_secret(path: Path) -> bool:
    """Could a value here be a key that was put in the wrong place? It is not repeated then."""
    if "credentials" in path:
        return path[-1] != "header"
    if path[:2] == ("admin", "tokens"):
        return path[-1] not in ("name", "role")
    if path[:1] == ("alerts",):
        return path[-1] in ("url_env", "webhook", "webhook_env", "secret_env")
    return path[:1] == ("callers",) and (len(path) <= 2 or path[2] in ("key", "key_env"))


def _meant(key: str, word: str) -> str | None:
    if key == "bad_currency":
        from proxy.core.currencies import CURRENCIES

        code = _CURRENCY_WORDS.get(word.lower(), word.upper())
        return code if code in CURRENCIES else None
    import zoneinfo

    return nearest(word, sorted(zoneinfo.available_timezones()))


def from_problem(problem: Problem, marks: Marks, source: str) -> Mistake:
    """A mistake out of one of core's problems."""
    path = marks.clean(problem.at)
    values = problem.values
    hint = problem.hint
    if problem.key == "missing":
        path = (*path, problem.at[-1])
        hint, values = "add_key", {**values, "example": _EXAMPLES.get(str(problem.at[-1]), "")}
    severity = "warning" if problem.warning else "error"
    place = marks.key(path) if problem.key in _AT_KEY else marks.value(path)
    return make(source, place, path_text(path), problem.key, hint, values, severity)


_AT_KEY = frozenset(("free_and", "catalog_and", "tiers_and", "bad_jmespath", "fx_own"))


# --- what is left of a broken file --------------------------------------------------------------------------------


def without(data: Any, broken: frozenset[Path]) -> tuple[Any, dict[Path, Path]]:
    """The document without its broken parts, and for each path of what is left its path in the file."""
    origin: dict[Path, Path] = {}

    def copy(value: Any, old: Path, new: Path) -> Any:
        origin[new] = old
        if isinstance(value, dict):
            return {k: copy(v, (*old, k), (*new, k)) for k, v in value.items() if (*old, k) not in broken}
        if isinstance(value, list):
            kept: list[Any] = []
            for index, item in enumerate(value):
                if (*old, index) not in broken:
                    kept.append(copy(item, (*old, index), (*new, len(kept))))
            return kept
        return value

    return copy(data, (), ()), origin


def translate(at: Path, origin: Mapping[Path, Path]) -> Path:
    """A path of what is left, as it is in the file."""
    for length in range(len(at), -1, -1):
        if at[:length] in origin:
            return (*origin[at[:length]], *at[length:])
    return at


def worth_telling(problem: Problem, at: Path, broken: Iterable[Path]) -> bool:
    """Is a problem of what is left real, or only there because a part is missing?"""
    if problem.refers or problem.warning:
        return False
    if problem.key == "unreachable":
        return not any(
            path[:3] == at[:3] for path in broken
        )  # an earlier rule may be wide only because a test is broken
    around = at[:-1]
    return not any(path[: len(at)] == at or (path[: len(around)] == around and len(path) <= len(at)) for path in broken)
