"""What every section's grammar is made of: a model that refuses unknown keys, and keys with their descriptions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def key(description: str, /, default: Any = None, **more: Any) -> Any:
    """A key that may be left out; core/rules.py knows what then holds."""
    return Field(default=default, description=description, **more)


def must(description: str, /, **more: Any) -> Any:
    """A key that must be given."""
    return Field(description=description, **more)


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
