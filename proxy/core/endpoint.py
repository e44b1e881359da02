"""Decides which call of a paid API this is: what it is named, how its answer tells the usage, and whether it costs.

A table over method and path that fits every provider of the catalogue: they share the shapes of a few APIs. `free` is
only what providers document as costing nothing for itself (listing, counting tokens, managing files). What is billed by
something else than the answer (batches, training, storage) is `separate`, and what the table does not know is
`unknown`: both are said aloud, never booked as free. Knows nothing about prices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote

from proxy.core.model import Outbound


class Billing(StrEnum):
    USAGE = "usage"  # the answer tells what was used
    FREE = "free"
    SEPARATE = "separate"  # billed, but not by what this answer tells
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """readers: flavours of the catalogue's extractors proven for it, best first. model: as named in the path."""

    name: str
    billing: Billing
    readers: tuple[str, ...] = ()
    model: str | None = None


_FREE = Endpoint("free", Billing.FREE)
REALTIME = Endpoint("realtime", Billing.USAGE, ("realtime", "live", "default"))  # a WebSocket, whatever its path
_SEPARATE = Endpoint("separate", Billing.SEPARATE)

# (end of the path, name, billing, flavours of the catalogue's readers); the first that fits holds. POST only.
_TABLE: tuple[tuple[re.Pattern[str], str, Billing, tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), name, billing, readers)
    for pattern, name, billing, readers in (
        # counting and other free questions
        (r"/messages/count_tokens$", "count_tokens", Billing.FREE, ()),
        (r":(countTokens|computeTokens)$", "count_tokens", Billing.FREE, ()),
        (r"/model/[^/]+/count-tokens$", "count_tokens", Billing.FREE, ()),
        (r"/responses/input_tokens$", "count_tokens", Billing.FREE, ()),
        (r"/(tokenize|detokenize|tokenize-text|check-api-key)$", "tokenize", Billing.FREE, ()),
        (r"/(responses|batches|runs|fine_tuning/jobs|uploads|predictions)/[^/]+/cancel$", "cancel", Billing.FREE, ()),
        (r"/threads/[^/]+/messages$", "manage", Billing.FREE, ()),
        # Anthropic, also on Azure and behind other gateways
        (r"/messages/batches(/|$)", "batch", Billing.SEPARATE, ()),
        (r"/messages$", "messages", Billing.USAGE, ("anthropic", "default")),
        (r"/v1/complete$", "complete", Billing.USAGE, ()),
        # Google
        (r":(streamG|g)enerateContent$", "generate_content", Billing.USAGE, ("default",)),
        (r":(embedContent|batchEmbedContents)$", "embed_content", Billing.USAGE, ()),
        (r":(rawPredict|streamRawPredict)$", "raw_predict", Billing.USAGE, ("anthropic",)),
        (r":predict$", "predict", Billing.USAGE, ()),
        # Amazon Bedrock
        (r"/model/[^/]+/converse(-stream)?$", "converse", Billing.USAGE, ("default",)),
        (r"/model/[^/]+/invoke(-with-response-stream)?$", "invoke", Billing.USAGE, ("anthropic",)),
        # the shapes that OpenAI began
        (r"/batches$|/fine[_-]tuning/|/videos(/|$)|/evals(/|$)|/containers$", "job", Billing.SEPARATE, ()),
        (r"/realtime(/|$)", "realtime", Billing.SEPARATE, ()),
        (r"/chat/moderations$|/moderations$", "moderation", Billing.FREE, ()),
        (r"/(fim|agents)/completions$", "chat", Billing.USAGE, ("default", "chat")),
        (r"/chat/completions$|/invocations$", "chat", Billing.USAGE, ("chat", "default")),
        (r"/completions$", "completions", Billing.USAGE, ("chat", "default")),
        (r"/responses(/compact)?$", "responses", Billing.USAGE, ("responses", "default")),
        (
            r"/(embeddings|multimodalembeddings|contextualizedembeddings)$",
            "embeddings",
            Billing.USAGE,
            ("embeddings", "default"),
        ),
        (r"/images/(generations|edits|variations)$", "images", Billing.USAGE, ("images",)),
        (r"/audio/speech$|/text-to-speech/", "speech", Billing.USAGE, ()),
        (r"/audio/(transcriptions|translations)$|/speech-to-text$", "transcription", Billing.USAGE, ()),
        (r"/threads/runs$|/threads/[^/]+/runs$|/runs/[^/]+/submit_tool_outputs$", "run", Billing.USAGE, ()),
        (r"/vector_stores/[^/]+/search$|:[A-Za-z]+$", "other", Billing.SEPARATE, ()),
        (r"/(files|uploads|vector_stores|assistants|threads|conversations|models)(/|$)", "manage", Billing.FREE, ()),
        # others
        (r"/ocr$", "ocr", Billing.USAGE, ("ocr",)),
        (r"/ai/run/", "run_model", Billing.USAGE, ("default", "decisions")),
        (r"/v2/chat$", "cohere_chat", Billing.USAGE, ("default",)),
        (r"/(v1/chat|generate|api/chat|api/generate)$", "chat_other", Billing.USAGE, ()),
        (r"/embed$|/api/embed$", "embeddings", Billing.USAGE, ("embeddings",)),
        (r"/rerank$", "rerank", Billing.USAGE, ()),
        (r"/async-invoke$|/guardrail/|/search$|/classify$|/batch", "other", Billing.SEPARATE, ()),
    )
)

# "default" reads Anthropic's shape only for these: elsewhere the same names count cached input otherwise.
_ANTHROPIC_BY_DEFAULT = frozenset({"anthropic", "minimax"})
_MODERATION_COSTS = frozenset({"mistral"})
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})

_MODEL_IN_PATH = re.compile(
    r"/model/([^/]+)/|/models/([^/:]+):|/deployments/([^/]+)/|/ai/run/(.+)$|/models/([^/]+/[^/]+)/predictions$"
    r"|/serving-endpoints/([^/]+)/invocations$"
)


@lru_cache(maxsize=2048)
def classify(provider: str, method: str, path: str) -> Endpoint:
    """The endpoint behind a method and a path (as received, without query), for a provider of the catalogue.

    provider "" stands for an API outside the catalogue whose tokens the rules price themselves.
    """
    if method != "POST":
        if method in _READING_METHODS and not path.endswith("/realtime"):
            return _FREE
        return Endpoint("other", Billing.UNKNOWN, (), model_in(path))
    path = path.rstrip("/")
    found = next((row[1:] for row in _TABLE if row[0].search(path)), None)
    if found is None:
        return Endpoint("other", Billing.UNKNOWN, (), model_in(path))
    name, billing, readers = found
    if name == "messages" and provider not in _ANTHROPIC_BY_DEFAULT:
        readers = ("anthropic",)
    elif name == "moderation" and provider in _MODERATION_COSTS:
        billing, readers = Billing.USAGE, ("default",)
    return Endpoint(name, billing, readers, model_in(path))


def endpoint_of(provider: str, outbound: Outbound) -> Endpoint:
    """The endpoint that a call is for."""
    if outbound.websocket:
        return REALTIME
    return classify(provider, outbound.method, outbound.path)


def model_in(path: str) -> str | None:
    """The model that a path names, percent-decoded: Bedrock, Gemini, Vertex, Azure deployments, Cloudflare."""
    found = _MODEL_IN_PATH.search(path)
    if found is None:
        return None
    return unquote(next(group for group in found.groups() if group is not None))
