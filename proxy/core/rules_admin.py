"""Compiles `admin`: tokens out of the environment, each long enough and nobody's twice."""

from __future__ import annotations

from collections.abc import Callable

from proxy.core.admin_model import Admin, Role, Token
from proxy.core.rules_checks import Path, Plain, Problem

LEAST_CHARACTERS = 16  # of a token: what cannot be guessed through a port


def compile_admin(section: Plain | None, variable: Callable[[Path, str], str | None], problems: list[Problem]) -> Admin:
    """variable: the value of an environment variable, or None with its problem noted."""
    if section is None:
        return Admin()
    tokens: list[Token] = []
    owners: dict[str, str] = {}
    for index, entry in enumerate(section["tokens"] or ()):
        at: Path = ("admin", "tokens", index)
        name = entry["name"]
        if any(name == token.name for token in tokens):
            problems.append(Problem((*at, "name"), "twice_token", {"got": name}, "give_other_name"))
        value = variable((*at, "token_env"), entry["token_env"])
        if value is None:
            continue
        if len(value) < LEAST_CHARACTERS:
            values = {"name": entry["token_env"], "least": str(LEAST_CHARACTERS)}
            problems.append(Problem((*at, "token_env"), "token_short", values, "token_form"))
        elif any(not character.isascii() or not character.isprintable() or character == " " for character in value):
            problems.append(Problem((*at, "token_env"), "token_characters", {"name": entry["token_env"]}, "token_form"))
        elif value in owners:
            values = {"got": name, "other": owners[value]}
            problems.append(Problem((*at, "token_env"), "same_token", values, "give_other_token"))
        owners.setdefault(value, name)
        tokens.append(Token(name, Role(entry["role"]), value))
    return Admin(tuple(tokens), section["second_approver"])
