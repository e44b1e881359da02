"""Unmodified HTTPS clients, each in its usual way: clients.py URL prints one JSON line a client, {client, said}."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
import urllib.request
from collections.abc import Callable
from typing import Any

URL = sys.argv[1]
CHAT = {"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}


def use_requests() -> Any:
    import requests

    return requests.post(f"{URL}/v1/chat/completions", json=CHAT, timeout=20).json()["usage"]["completion_tokens"]


def use_httpx() -> Any:
    import httpx

    return httpx.post(f"{URL}/v1/chat/completions", json=CHAT, timeout=20).json()["usage"]["completion_tokens"]


def use_aiohttp() -> Any:
    import aiohttp

    async def call() -> Any:
        async with (
            aiohttp.ClientSession(trust_env=True) as session,
            session.post(f"{URL}/v1/chat/completions", json=CHAT) as answer,
        ):
            return (await answer.json())["usage"]["completion_tokens"]

    return asyncio.run(call())


def use_urllib() -> Any:
    request = urllib.request.Request(
        f"{URL}/v1/chat/completions", json.dumps(CHAT).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["usage"]["completion_tokens"]


def use_openai() -> Any:
    from openai import OpenAI

    client = OpenAI(base_url=f"{URL}/v1", api_key="any")
    return client.chat.completions.create(**CHAT).usage.completion_tokens  # type: ignore[call-overload]


def use_openai_stream() -> Any:
    from openai import OpenAI

    client = OpenAI(base_url=f"{URL}/v1", api_key="any")
    chunks = client.chat.completions.create(**CHAT, stream=True)  # type: ignore[call-overload]
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def use_anthropic() -> Any:
    from anthropic import Anthropic

    client = Anthropic(base_url=URL, api_key="any")
    said = client.messages.create(
        model="claude-sonnet-4-6", max_tokens=20, messages=[{"role": "user", "content": "Hi"}]
    )
    return said.usage.output_tokens


def use_boto3() -> Any:
    import boto3

    bedrock = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=URL,
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    said = bedrock.converse(
        modelId="anthropic.claude-3-haiku-20240307-v1:0", messages=[{"role": "user", "content": [{"text": "Hi"}]}]
    )
    return said["usage"]["outputTokens"]


CLIENTS: tuple[Callable[[], Any], ...] = (
    use_requests, use_httpx, use_aiohttp, use_urllib, use_openai, use_openai_stream, use_anthropic, use_boto3,
)  # fmt: skip

for use in CLIENTS:
    try:
        said = use()
    except Exception as error:  # reported to the test, which fails by it
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"
    print(json.dumps({"client": use.__name__.removeprefix("use_"), "said": said}), flush=True)
