"""One exchange of our own writing for each shape in which a paid API tells its usage."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from proxy.core import eventstream

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class Shape:
    name: str
    provider: str
    path: str
    request: Any
    body: bytes
    counts: dict[str, int]  # what must be read
    model: str | None
    media: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    assumed: bool = False  # the catalogue has no reader for it
    method: str = "POST"


def js(value: Any) -> bytes:
    return json.dumps(value).encode()


def sse(*events: Any, named: bool = False, end: bytes = b"") -> bytes:
    out = b""
    for event in events:
        if named:
            out += b"event: " + event["type"].encode() + b"\n"
        out += b"data: " + js(event) + b"\n\n"
    return out + end


def frames(*events: tuple[str, Any]) -> bytes:
    return b"".join(eventstream.event(kind, js(payload)) for kind, payload in events)


def chunk(event: Any) -> tuple[str, Any]:
    return "chunk", {"bytes": base64.b64encode(js(event)).decode()}


def _delta(text: str | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }


CHAT_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 40,
    "total_tokens": 1240,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 16, "audio_tokens": 0},
}
CHAT_COUNTS = {
    "input_tokens": 1200,
    "cache_read_tokens": 1024,
    "input_audio_tokens": 0,
    "output_audio_tokens": 0,
    "output_reasoning_tokens": 16,
    "output_tokens": 40,
}
RESPONSES_USAGE = {
    "input_tokens": 300,
    "input_tokens_details": {"cached_tokens": 128},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 32},
    "total_tokens": 350,
}
RESPONSES_COUNTS = {
    "input_tokens": 300,
    "cache_read_tokens": 128,
    "output_reasoning_tokens": 32,
    "output_tokens": 50,
}
ANTHROPIC_USAGE = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 700,
    "cache_read_input_tokens": 2000,
    "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 200},
    "output_tokens": 90,
}
ANTHROPIC_COUNTS = {
    "input_tokens": 2711,
    "cache_write_tokens": 700,
    "cache_write_5m_tokens": 500,
    "cache_write_1h_tokens": 200,
    "cache_read_tokens": 2000,
    "output_tokens": 90,
}
ANTHROPIC_STREAM = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "content": [],
            "usage": {**ANTHROPIC_USAGE, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "The tide"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " turns."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 90}},
    {"type": "message_stop"},
)
GEMINI_STREAM = tuple(
    {
        "candidates": [
            {
                "content": {"parts": [{"text": text}], "role": "model"},
                "index": 0,
                **({"finishReason": "STOP"} if last else {}),
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 40,
            "candidatesTokenCount": 5 * (place + 1),
            "thoughtsTokenCount": 100,
            "totalTokenCount": 145 + 5 * place,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 40}],
        },
        "modelVersion": "gemini-2.5-flash",
    }
    for place, (text, last) in enumerate((("Waves ", False), ("roll ", False), ("in.", True)))
)
GEMINI_COUNTS = {
    "input_tokens": 40,
    "input_text_tokens": 40,
    "output_tokens": 115,
    "output_reasoning_tokens": 100,
}
CONVERSE_USAGE = {
    "inputTokens": 20,
    "outputTokens": 30,
    "totalTokens": 1050,
    "cacheReadInputTokens": 1000,
    "cacheWriteInputTokens": 0,
}
CONVERSE_COUNTS = {"input_tokens": 1020, "cache_read_tokens": 1000, "cache_write_tokens": 0, "output_tokens": 30}
HAIKU_ON_BEDROCK = "us.anthropic.claude-haiku-4-5-20251001-v1:0"

MESSAGES = [{"role": "user", "content": "Say something about the sea."}]

SHAPES = (
    Shape(
        "openai chat",
        "openai",
        "/v1/chat/completions",
        {"model": "gpt-4o-mini", "messages": MESSAGES},
        js({"model": "gpt-4o-mini-2024-07-18", "choices": [], "usage": CHAT_USAGE}),
        CHAT_COUNTS,
        "gpt-4o-mini-2024-07-18",
    ),
    Shape(
        "openai chat stream with usage",
        "openai",
        "/v1/chat/completions",
        {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}},
        sse(
            _delta("The", usage=None),
            _delta(" sea", usage=None),
            _delta(None, "stop", usage=None),
            {**_delta(None), "choices": [], "usage": CHAT_USAGE},
            end=b"data: [DONE]\n\n",
        ),
        CHAT_COUNTS,
        "gpt-4o-mini-2024-07-18",
        SSE,
    ),
    Shape(
        "openai chat stream with CR LF and comments",
        "openai",
        "/v1/chat/completions",
        {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True},
        b": keep alive\r\n\r\n"
        + sse(_delta("The"), {**_delta(None), "choices": [], "usage": CHAT_USAGE}).replace(b"\n", b"\r\n"),
        CHAT_COUNTS,
        "gpt-4o-mini-2024-07-18",
        SSE,
    ),
    Shape(
        "openai completions",
        "openai",
        "/v1/completions",
        {"model": "gpt-3.5-turbo-instruct", "prompt": "The sea"},
        js({"model": "gpt-3.5-turbo-instruct", "usage": {"prompt_tokens": 2, "completion_tokens": 16}}),
        {"input_tokens": 2, "output_tokens": 16},
        "gpt-3.5-turbo-instruct",
    ),
    Shape(
        "openai responses",
        "openai",
        "/v1/responses",
        {"model": "gpt-5-mini", "input": "The sea"},
        js({"object": "response", "model": "gpt-5-mini-2025-08-07", "output": [], "usage": RESPONSES_USAGE}),
        RESPONSES_COUNTS,
        "gpt-5-mini-2025-08-07",
    ),
    Shape(
        "openai responses stream that was incomplete",
        "openai",
        "/v1/responses",
        {"model": "gpt-5-mini", "input": "The sea", "stream": True},
        sse(
            {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "model": "gpt-5-mini"}},
            {"type": "response.output_text.delta", "sequence_number": 1, "delta": "The"},
            {
                "type": "response.incomplete",
                "sequence_number": 2,
                "response": {"id": "resp_1", "model": "gpt-5-mini-2025-08-07", "usage": RESPONSES_USAGE},
            },
            named=True,
        ),
        RESPONSES_COUNTS,
        "gpt-5-mini-2025-08-07",
        SSE,
    ),
    Shape(
        "openai embeddings",
        "openai",
        "/v1/embeddings",
        {"model": "text-embedding-3-small", "input": "The sea"},
        js(
            {
                "object": "list",
                "data": [{"embedding": [0.25, -0.5], "index": 0}],
                "model": "text-embedding-3-small",
                "usage": {"prompt_tokens": 2, "total_tokens": 2},
            }
        ),
        {"input_tokens": 2},
        "text-embedding-3-small",
    ),
    Shape(
        "openai images",
        "openai",
        "/v1/images/generations",
        {"model": "gpt-image-1", "prompt": "The sea", "n": 1},
        js(
            {
                "created": 1,
                "data": [{"b64_json": "aGk="}],
                "usage": {
                    "input_tokens": 10,
                    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
                    "output_tokens": 272,
                    "total_tokens": 282,
                },
            }
        ),
        {"input_tokens": 10, "input_text_tokens": 10, "input_image_tokens": 0, "output_tokens": 272},
        None,
    ),
    Shape(
        "openai assistants run",
        "openai",
        "/v1/threads/thread_1/runs",
        {"assistant_id": "asst_1", "stream": True, "model": "gpt-4o-mini"},
        sse(
            {"object": "thread.run", "model": "gpt-4o-mini", "usage": None},
            {"object": "thread.run.step", "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}},
            {
                "object": "thread.run",
                "model": "gpt-4o-mini",
                "usage": {"prompt_tokens": 8, "completion_tokens": 6, "total_tokens": 14},
            },
        ),
        {"input_tokens": 8, "output_tokens": 6},
        "gpt-4o-mini",
        SSE,
        assumed=True,
    ),
    Shape(
        "openai transcription by duration",
        "openai",
        "/v1/audio/transcriptions",
        None,
        js({"text": "The sea", "usage": {"type": "duration", "seconds": 61}}),
        {"audio_seconds": 61, "input_audio_seconds": 61},
        None,
        assumed=True,
    ),
    Shape(
        "azure chat",
        "azure",
        "/openai/deployments/gpt-4o/chat/completions",
        {"messages": MESSAGES},
        js({"model": "gpt-4o-2024-11-20", "usage": {"prompt_tokens": 9, "completion_tokens": 3}}),
        {"input_tokens": 9, "output_tokens": 3},
        "gpt-4o-2024-11-20",
    ),
    Shape(
        "anthropic messages",
        "anthropic",
        "/v1/messages",
        {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": MESSAGES},
        js({"type": "message", "model": "claude-sonnet-4-5-20250929", "content": [], "usage": ANTHROPIC_USAGE}),
        ANTHROPIC_COUNTS,
        "claude-sonnet-4-5-20250929",
    ),
    Shape(
        "anthropic stream",
        "anthropic",
        "/v1/messages",
        {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": MESSAGES, "stream": True},
        sse(*ANTHROPIC_STREAM, named=True),
        ANTHROPIC_COUNTS,
        "claude-sonnet-4-5-20250929",
        SSE,
    ),
    Shape(
        "anthropic on vertex",
        "google",
        "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
        {"max_tokens": 100, "messages": MESSAGES},
        js({"type": "message", "model": "claude-sonnet-4-5-20250929", "usage": ANTHROPIC_USAGE}),
        ANTHROPIC_COUNTS,
        "claude-sonnet-4-5-20250929",
    ),
    Shape(
        "gemini generateContent",
        "google",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        {"contents": [{"parts": [{"text": "The sea"}]}]},
        js(GEMINI_STREAM[-1]),
        GEMINI_COUNTS,
        "gemini-2.5-flash",
    ),
    Shape(
        "gemini stream",
        "google",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        {"contents": [{"parts": [{"text": "The sea"}]}]},
        sse(*GEMINI_STREAM),
        GEMINI_COUNTS,
        "gemini-2.5-flash",
        SSE,
    ),
    Shape(
        "gemini stream as an array",
        "google",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        {"contents": [{"parts": [{"text": "The sea"}]}]},
        b"[" + b",\r\n".join(map(js, GEMINI_STREAM)) + b"]\n",
        GEMINI_COUNTS,
        "gemini-2.5-flash",
    ),
    Shape(
        "gemini embeddings",
        "google",
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        {"requests": []},
        js({"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 7}}),
        {"input_tokens": 7},
        "gemini-embedding-001",
        assumed=True,
    ),
    Shape(
        "bedrock converse",
        "aws",
        f"/model/{HAIKU_ON_BEDROCK.replace(':', '%3A')}/converse",
        {"messages": []},
        js({"output": {}, "stopReason": "end_turn", "usage": CONVERSE_USAGE}),
        CONVERSE_COUNTS,
        HAIKU_ON_BEDROCK,
    ),
    Shape(
        "bedrock converse through a profile",
        "aws",
        f"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F{HAIKU_ON_BEDROCK}/converse",
        {"messages": []},
        js({"output": {}, "usage": CONVERSE_USAGE}),
        CONVERSE_COUNTS,
        f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{HAIKU_ON_BEDROCK}",
    ),
    Shape(
        "bedrock converse stream",
        "aws",
        f"/model/{HAIKU_ON_BEDROCK}/converse-stream",
        {"messages": []},
        frames(
            ("messageStart", {"role": "assistant", "p": "abc"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "The sea"}, "p": "ab"}),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            ("messageStop", {"stopReason": "end_turn"}),
            ("metadata", {"metrics": {"latencyMs": 9}, "usage": CONVERSE_USAGE}),
        ),
        CONVERSE_COUNTS,
        HAIKU_ON_BEDROCK,
        "application/vnd.amazon.eventstream",
    ),
    Shape(
        "bedrock invoke",
        "aws",
        f"/model/{HAIKU_ON_BEDROCK}/invoke",
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 10, "messages": MESSAGES},
        js({"model": "claude-haiku-4-5-20251001", "usage": ANTHROPIC_USAGE}),
        ANTHROPIC_COUNTS,
        HAIKU_ON_BEDROCK,
    ),
    Shape(
        "bedrock invoke stream",
        "aws",
        f"/model/{HAIKU_ON_BEDROCK}/invoke-with-response-stream",
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 10, "messages": MESSAGES},
        frames(
            *map(chunk, ANTHROPIC_STREAM[:-1]),
            chunk(
                {
                    "type": "message_stop",
                    "amazon-bedrock-invocationMetrics": {"inputTokenCount": 11, "outputTokenCount": 90},
                }
            ),
        ),
        ANTHROPIC_COUNTS,
        HAIKU_ON_BEDROCK,
        "application/vnd.amazon.eventstream",
    ),
    Shape(
        "bedrock invoke stream of a model without usage of its own",
        "aws",
        "/model/us.meta.llama3-2-1b-instruct-v1%3A0/invoke-with-response-stream",
        {"prompt": "The sea", "max_gen_len": 20},
        frames(
            chunk({"generation": "The", "prompt_token_count": 5, "generation_token_count": 1}),
            chunk(
                {
                    "generation": "",
                    "generation_token_count": 12,
                    "stop_reason": "stop",
                    "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 12},
                }
            ),
        ),
        {"input_tokens": 5, "output_tokens": 12},
        "us.meta.llama3-2-1b-instruct-v1:0",
        "application/vnd.amazon.eventstream",
        assumed=True,
    ),
    Shape(
        "bedrock embedding counted in headers",
        "aws",
        "/model/amazon.titan-embed-text-v2%3A0/invoke",
        {"inputText": "The sea"},
        js({"embedding": [0.5]}),
        {"input_tokens": 4},
        "amazon.titan-embed-text-v2:0",
        headers={"X-Amzn-Bedrock-Input-Token-Count": "4"},
        assumed=True,
    ),
    Shape(
        "groq stream with its own member",
        "groq",
        "/openai/v1/chat/completions",
        {"model": "llama-3.3-70b-versatile", "messages": MESSAGES, "stream": True},
        sse(
            {
                "model": "llama-3.3-70b-versatile",
                "choices": [{"index": 0, "delta": {"content": "A"}, "finish_reason": None}],
                "x_groq": {"id": "req_1"},
            },
            {
                "model": "llama-3.3-70b-versatile",
                "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                "x_groq": {"id": "req_1", "usage": {"prompt_tokens": 48, "completion_tokens": 8}},
            },
            end=b"data: [DONE]\n\n",
        ),
        {"input_tokens": 48, "output_tokens": 8},
        "llama-3.3-70b-versatile",
        SSE,
    ),
    Shape(
        "mistral ocr",
        "mistral",
        "/v1/ocr",
        {"model": "mistral-ocr-latest", "document": {"type": "document_url", "document_url": "https://example.com/a"}},
        js({"pages": [], "model": "mistral-ocr-2505", "usage_info": {"pages_processed": 3, "doc_size_bytes": 9}}),
        {"input_document_pages": 3},
        "mistral-ocr-2505",
    ),
    Shape(
        "mistral embeddings",
        "mistral",
        "/v1/embeddings",
        {"model": "mistral-embed", "input": ["The sea"]},
        js({"model": "mistral-embed", "usage": {"prompt_tokens": 4, "total_tokens": 4, "completion_tokens": 0}}),
        {"input_tokens": 4, "output_tokens": 0},
        "mistral-embed",
    ),
    Shape(
        "cohere v2",
        "cohere",
        "/v2/chat",
        {"model": "command-r", "messages": MESSAGES},
        js(
            {
                "id": "1",
                "usage": {"billed_units": {"input_tokens": 7, "output_tokens": 88}, "tokens": {"input_tokens": 70}},
            }
        ),
        {"input_tokens": 7, "output_tokens": 88},
        None,
    ),
    Shape(
        "cohere v2 stream",
        "cohere",
        "/v2/chat",
        {"model": "command-r", "messages": MESSAGES, "stream": True},
        sse(
            {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant"}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "The"}}}},
            {
                "type": "message-end",
                "delta": {
                    "finish_reason": "COMPLETE",
                    "usage": {"billed_units": {"input_tokens": 7, "output_tokens": 9}},
                },
            },
            named=True,
        ),
        {"input_tokens": 7, "output_tokens": 9},
        None,
        SSE,
    ),
    Shape(
        "cohere v1 stream of lines",
        "cohere",
        "/v1/chat",
        {"model": "command-r", "message": "The sea", "stream": True},
        b"\n".join(
            map(
                js,
                (
                    {"is_finished": False, "event_type": "stream-start"},
                    {"is_finished": False, "event_type": "text-generation", "text": "The"},
                    {
                        "is_finished": True,
                        "event_type": "stream-end",
                        "response": {"meta": {"billed_units": {"input_tokens": 5, "output_tokens": 6}}},
                    },
                ),
            )
        )
        + b"\n",
        {"input_tokens": 5, "output_tokens": 6},
        None,
        "application/stream+json",
        assumed=True,
    ),
    Shape(
        "voyage embeddings",
        "voyageai",
        "/v1/embeddings",
        {"model": "voyage-3.5", "input": ["The sea"]},
        js({"object": "list", "model": "voyage-3.5", "usage": {"total_tokens": 3}}),
        {"input_tokens": 3},
        "voyage-3.5",
        assumed=True,
    ),
    Shape(
        "together completions",
        "together",
        "/v1/completions",
        {"model": "mistralai/Mixtral-8x7B-Instruct-v0.1", "prompt": "The sea"},
        js(
            {
                "model": "mistralai/Mixtral-8x7B-Instruct-v0.1",
                "usage": {"prompt_tokens": 10, "completion_tokens": 51, "total_tokens": 61},
            }
        ),
        {"input_tokens": 10, "output_tokens": 51},
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        assumed=True,
    ),
    Shape(
        "x.ai responses",
        "x-ai",
        "/v1/responses",
        {"model": "grok-4.3", "input": "The sea"},
        js({"model": "grok-4.3", "object": "response", "usage": RESPONSES_USAGE}),
        RESPONSES_COUNTS,
        "grok-4.3",
    ),
    Shape(
        "cloudflare run",
        "cloudflare",
        "/client/v4/accounts/a1/ai/run/@cf/meta/llama-3.1-8b-instruct",
        {"prompt": "The sea"},
        js({"result": {"response": "x", "usage": {"prompt_tokens": 5, "completion_tokens": 6}}, "success": True}),
        {"input_tokens": 5, "output_tokens": 6},
        "@cf/meta/llama-3.1-8b-instruct",
    ),
)
