"""Which endpoint of a model API a function stands for, from its arguments and from its answer.

The catalogue prices and reads a call by its endpoint, and a function has none. The arguments of the SDKs are the
members of the request's body, and the answers say what they are, so both give it away. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from proxy.core.model import Api, Speaks

_CHAT: Final = "/v1/chat/completions"
_RESPONSES: Final = "/v1/responses"
_MESSAGES: Final = "/v1/messages"
_EMBEDDINGS: Final = "/v1/embeddings"
_GOOGLE: Final = frozenset({"google"})


def of_arguments(api: Api, body: Mapping[str, Any]) -> str | None:
    """The path that such a call would have; None where no rule of the API counts tokens."""
    providers = {rule.price.catalog for rule in api.rules if rule.price.catalog is not None}
    if not providers and not any(rule.price.tokens is not None for rule in api.rules):
        return None
    model = body.get("model")
    name = model.lower() if isinstance(model, str) else ""
    if providers & _GOOGLE or api.speaks is Speaks.GOOGLE:
        action = "embedContent" if "embedding" in name else "generateContent"
        return f"/v1beta/models/{quote(name or '-', safe='')}:{action}"
    if "anthropic" in providers or api.speaks is Speaks.ANTHROPIC:
        return _MESSAGES
    if "messages" in body:
        return _CHAT
    if "voice" in body or name.startswith("tts"):
        return "/v1/audio/speech"
    if "file" in body and ("whisper" in name or "transcribe" in name):
        return "/v1/audio/transcriptions"
    if "image" in name or name.startswith("dall-e"):
        return "/v1/images/edits" if "image" in body else "/v1/images/generations"
    if "embedding" in name:
        return _EMBEDDINGS
    if "input" in body:
        return _RESPONSES
    return _CHAT


class _Shape(msgspec.Struct):
    object: str = ""
    type: str = ""
    data: list[_Item] = []


class _Item(msgspec.Struct):
    object: str = ""


_decode = msgspec.json.Decoder(_Shape).decode


def of_answer(body: bytes) -> str | None:
    """The path whose answer, or event of a stream, this JSON is; None where it does not say."""
    try:
        shape = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if shape.object.startswith("chat.completion"):
        return _CHAT
    if shape.object == "text_completion":
        return "/v1/completions"
    if shape.object == "response" or shape.type.startswith("response."):
        return _RESPONSES
    if shape.type in ("message", "message_start"):
        return _MESSAGES
    if shape.object == "list" and shape.data and shape.data[0].object == "embedding":
        return _EMBEDDINGS
    return None
