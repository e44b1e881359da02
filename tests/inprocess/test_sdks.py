"""The real SDKs inside decorated functions, against a real HTTP server of our own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import openai
import pytest
import requests

from proxy import BudgetExceededException, budget, budget_controlled_api
from proxy.inprocess.host import host
from tests.e2e.backend import (
    Backend,
    Reply,
    Seen,
    chat_events,
    data_event,
    message_answer,
    message_events,
    running_backend,
)
from tests.e2e.support import krw, usd
from tests.inprocess.conftest import Books, usage_of

HELLO: Any = [{"role": "user", "content": "Say hello."}]
WORDS = [f"w{number} " for number in range(20)]
USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


@pytest.fixture(scope="module")
def module_backend() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


@pytest.fixture
def backend(module_backend: Backend) -> Backend:
    module_backend.reset()
    return module_backend


@pytest.fixture
def client(backend: Backend) -> Iterator[openai.OpenAI]:
    plain = openai.DefaultHttpxClient(trust_env=False, timeout=20)
    with openai.OpenAI(base_url=f"{backend.url}/v1", api_key="sk-test", max_retries=0, http_client=plain) as one:
        yield one


@pytest.fixture
async def async_client(backend: Backend) -> AsyncIterator[openai.AsyncOpenAI]:
    plain = openai.DefaultAsyncHttpxClient(trust_env=False, timeout=20)
    url = f"{backend.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-test", max_retries=0, http_client=plain) as one:
        yield one


async def streaming(seen: Seen, reply: Reply) -> None:
    await reply.events(*chat_events(WORDS, USAGE, "gpt-4o"))


async def streaming_untold(seen: Seen, reply: Reply) -> None:
    await reply.events(*chat_events(WORDS, None, "gpt-4o"))


def test_a_chat_completion_is_priced_to_the_atom(books: Books, client: openai.OpenAI) -> None:
    @budget_controlled_api("openai")
    def chat(client: openai.OpenAI, **body: Any) -> Any:
        return client.chat.completions.create(**body)

    answer = chat(client, model="gpt-4o-mini", messages=HELLO, max_tokens=64)
    assert answer.choices[0].message.content == "Hello."
    entry = books.only()
    assert (entry["rule"], entry["state"], entry["model"]) == ("openai/models", "settled", "gpt-4o-mini")
    assert Decimal(entry["cost"]) == krw(usd("gpt-4o-mini", 19, 10)) == Decimal("0.012302")


async def test_the_same_in_an_event_loop(books: Books, async_client: openai.AsyncOpenAI) -> None:
    @budget_controlled_api("openai")
    async def chat(messages: Any, model: str = "gpt-4o-mini", max_tokens: int = 64) -> Any:
        return await async_client.chat.completions.create(messages=messages, model=model, max_tokens=max_tokens)

    assert (await chat(HELLO)).usage.total_tokens == 29
    assert Decimal(books.only()["cost"]) == Decimal("0.012302")


def test_a_stream_is_metered_as_it_is_read_and_stays_the_sdks_own(
    books: Books, backend: Backend, client: openai.OpenAI
) -> None:
    backend.answer = streaming

    @budget_controlled_api("openai")
    def chat(**body: Any) -> Any:
        return client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})

    stream = chat(model="gpt-4o", messages=HELLO, max_tokens=300)
    assert isinstance(stream, openai.Stream)
    assert stream.response.status_code == 200
    assert books.level()["reserved"] > 0
    with stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == "".join(WORDS)
    entry = books.only()
    assert (entry["state"], Decimal(entry["cost"])) == ("settled", krw(usd("gpt-4o", 1000, 200)))


async def test_an_async_stream(books: Books, backend: Backend, async_client: openai.AsyncOpenAI) -> None:
    backend.answer = streaming

    @budget_controlled_api("openai")
    async def chat(**body: Any) -> Any:
        return await async_client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})

    stream = await chat(model="gpt-4o", messages=HELLO, max_tokens=300)
    assert isinstance(stream, openai.AsyncStream)
    assert len([chunk async for chunk in stream]) == len(WORDS) + 3
    assert Decimal(books.only()["cost"]) == krw(usd("gpt-4o", 1000, 200))


def test_a_stream_inside_a_generator_is_charged_for_what_was_read_when_it_is_left(
    books: Books, backend: Backend, client: openai.OpenAI
) -> None:
    backend.answer = streaming_untold

    @budget_controlled_api("openai")
    def words(messages: Any, model: str = "gpt-4o", max_tokens: int = 4000) -> Iterator[str]:
        with client.chat.completions.create(
            messages=messages, model=model, max_tokens=max_tokens, stream=True
        ) as stream:
            for chunk in stream:
                yield chunk.choices[0].delta.content or ""

    for number, _ in enumerate(words(HELLO)):
        if number == 10:
            break
    entry = books.only()
    assert (entry["state"], entry["note"]) == ("estimated", "cut")
    seen = usage_of(entry)["output_tokens"]
    assert 10 <= seen <= 60
    assert Decimal(entry["cost"]) < Decimal(entry["estimate"]) / 4


def test_a_stream_closed_early_is_charged_for_what_came(books: Books, backend: Backend, client: openai.OpenAI) -> None:
    backend.answer = streaming_untold

    @budget_controlled_api("openai")
    def chat(**body: Any) -> Any:
        return client.chat.completions.create(**body, stream=True)

    stream = chat(model="gpt-4o", messages=HELLO, max_tokens=4000)
    for _ in range(5):
        next(stream)
    stream.close()
    entry = books.only()
    assert (entry["state"], entry["note"]) == ("estimated", "cut")
    assert 0 < Decimal(entry["cost"]) < Decimal(entry["estimate"]) / 4


def test_an_error_of_the_api_costs_nothing_and_is_the_sdks_own(
    books: Books, backend: Backend, client: openai.OpenAI
) -> None:
    async def limited(seen: Seen, reply: Reply) -> None:
        await reply.json({"error": {"message": "slow down", "type": "rate_limit"}}, 429)

    backend.answer = limited

    @budget_controlled_api("openai")
    def chat(**body: Any) -> Any:
        return client.chat.completions.create(**body)

    with pytest.raises(openai.RateLimitError):
        chat(model="gpt-4o", messages=HELLO, max_tokens=10)
    entry = books.only()
    assert (entry["status"], entry["cost"], entry["state"]) == ("429", "0", "settled")


def test_an_api_that_cannot_be_reached_costs_nothing(books: Books) -> None:
    plain = openai.DefaultHttpxClient(trust_env=False)
    lost = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="x", max_retries=0, http_client=plain)

    @budget_controlled_api("openai")
    def chat(**body: Any) -> Any:
        return lost.chat.completions.create(**body)

    with pytest.raises(openai.APIConnectionError):
        chat(model="gpt-4o", messages=HELLO, max_tokens=10)
    entry = books.only()
    assert (entry["cost"], entry["note"]) == ("0", "not_sent")


def test_an_api_that_hangs_up_is_charged_as_it_may_have_billed(
    books: Books, backend: Backend, client: openai.OpenAI
) -> None:
    async def dying(seen: Seen, reply: Reply) -> None:
        reply.die()

    backend.answer = dying

    @budget_controlled_api("openai")
    def chat(**body: Any) -> Any:
        return client.chat.completions.create(**body)

    with pytest.raises(openai.APIConnectionError):
        chat(model="gpt-4o", messages=HELLO, max_tokens=10)
    entry = books.only()
    assert (entry["state"], entry["cost"]) == ("estimated", entry["estimate"])


def test_embeddings_and_responses_are_read_as_what_they_are(
    books: Books, backend: Backend, client: openai.OpenAI
) -> None:
    async def either(seen: Seen, reply: Reply) -> None:
        if seen.target.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
            usage = {"prompt_tokens": 8, "total_tokens": 8}
            await reply.json({"object": "list", "data": [vector], "model": "text-embedding-3-small", "usage": usage})
        else:
            usage = {"input_tokens": 8, "output_tokens": 4, "total_tokens": 12}
            await reply.json(
                {"id": "r", "object": "response", "created_at": 1, "model": "gpt-4o-mini", "output": [], "usage": usage}
            )

    backend.answer = either

    @budget_controlled_api("openai")
    def embed(input: str, model: str = "text-embedding-3-small") -> Any:
        return client.embeddings.create(input=input, model=model, encoding_format="float")

    @budget_controlled_api("openai")
    def respond(input: str, model: str = "gpt-4o-mini", max_output_tokens: int = 50) -> Any:
        return client.responses.create(input=input, model=model, max_output_tokens=max_output_tokens)

    embed("hello")
    respond("hello")
    first, second = books.entries()
    assert (first["state"], first["model"], Decimal(first["original_cost"])) == (
        "settled",
        "text-embedding-3-small",
        Decimal("0.00000016"),
    )
    assert (second["state"], Decimal(second["cost"])) == ("settled", krw(usd("gpt-4o-mini", 8, 4)))


def test_anthropics_sdk_whole_and_as_a_stream(books: Books, backend: Backend) -> None:
    model = "claude-sonnet-4-6"

    async def either(seen: Seen, reply: Reply) -> None:
        if seen.json().get("stream"):
            await reply.events(*message_events(["Hel", "lo."], model, 30, 12))
        else:
            await reply.json(message_answer(model, {"input_tokens": 30, "output_tokens": 12}))

    backend.answer = either
    plain = anthropic.DefaultHttpxClient(trust_env=False)
    with anthropic.Anthropic(base_url=backend.url, api_key="x", max_retries=0, http_client=plain) as client:

        @budget_controlled_api("anthropic")
        def message(**body: Any) -> Any:
            return client.messages.create(**body)

        assert message(model=model, messages=HELLO, max_tokens=50).content[0].text == "Hello."
        events = list(message(model=model, messages=HELLO, max_tokens=50, stream=True))
    assert events[-1].type == "message_stop"
    costs = [(entry["state"], Decimal(entry["cost"])) for entry in books.entries()]
    assert costs == [("settled", krw(usd(model, 30, 12)))] * 2


def test_responses_of_http_clients_tell_status_and_usage(books: Books, backend: Backend) -> None:
    url = f"{backend.url}/v1/chat/completions"

    @budget_controlled_api("openai")
    def by_httpx(**body: Any) -> httpx.Response:
        with httpx.Client(trust_env=False) as client:
            return client.post(url, json=body)

    @budget_controlled_api("openai")
    def by_requests(**body: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(url, json=body, timeout=10)

    body = {"model": "gpt-4o-mini", "messages": HELLO, "max_tokens": 64}
    assert by_httpx(**body).status_code == by_requests(**body).status_code == 200

    async def failing(seen: Seen, reply: Reply) -> None:
        await reply.json({"error": "no"}, 500)

    backend.answer = failing
    assert by_httpx(**body).status_code == 500
    told = [(entry["status"], entry["state"], Decimal(entry["cost"])) for entry in books.entries()]
    assert told == [("200", "settled", Decimal("0.012302"))] * 2 + [("500", "settled", Decimal(0))]


def test_a_block_watches_a_stream(books: Books, backend: Backend, client: openai.OpenAI) -> None:
    backend.answer = streaming
    body: Any = {"model": "gpt-4o", "messages": HELLO, "max_tokens": 300}
    with budget("openai", request=body) as call:
        stream = client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
        assert len(list(call.watch(stream))) == len(WORDS) + 3
    assert (call.charged, call.state) == (krw(usd("gpt-4o", 1000, 200)), "settled")


# --- streams and the end of the money --------------------------------------------------------------------------------


def test_a_stream_that_outgrows_its_estimate_takes_more_and_ends_where_the_rule_says(
    books: Books, backend: Backend, client: openai.OpenAI
) -> None:
    # A tenth of a won for each token of output, four reserved at first, and a budget of one won.
    async def long(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"))
        for event in chat_events(["word "] * 40, None)[:-2]:
            await reply.piece(event)
        await seen.gone.happens()

    backend.answer = long

    @budget_controlled_api("crumbs")
    def chat(messages: Any, model: str = "some-model") -> Any:
        return client.chat.completions.create(messages=messages, model=model, stream=True)

    read: list[Any] = []

    def read_all() -> None:
        for chunk in chat(HELLO):
            read.append(chunk)  # noqa: PERF402 - what came before the end counts

    with pytest.raises(BudgetExceededException, match="ends streams early") as cut:
        read_all()
    assert cut.value.reason == "budget_insufficient"
    assert 2 <= len(read) <= 12
    entry = books.only()
    assert Decimal("0.2") < Decimal(entry["cost"]) <= 1
    assert books.level("crumbs")["spent"] <= 1
    backend.requests[0].gone.wait()  # the API was told that nobody listens


def test_a_stream_of_a_rule_that_finishes_outgrows_its_estimate_in_the_books_too(books: Books) -> None:
    @budget_controlled_api("openai", request={"model": "gpt-4o"}, estimate="0.000001 USD")
    def chat(prompt: str) -> Iterator[dict[str, Any]]:
        for word in WORDS:
            yield {"object": "chat.completion.chunk", "model": "gpt-4o", "choices": [{"delta": {"content": word}}]}

    stream = chat("hi")
    before = None
    for _ in range(15):
        next(stream)
        before = before or books.level()["reserved"]
    host().flush(5)
    assert before is not None
    assert books.level()["reserved"] > Decimal("0.00139")
    stream.close()  # type: ignore[attr-defined]
    assert books.level()["reserved"] >= 0
    assert Decimal(books.only()["cost"]) > Decimal("0.00139")


def test_raw_bytes_of_a_stream_are_read_too(books: Books) -> None:
    @budget_controlled_api("openai", request={"model": "gpt-4o", "max_tokens": 10})
    def chat(prompt: str) -> Iterator[bytes]:
        for event in chat_events(["a"], USAGE, "gpt-4o"):
            yield event[:7]
            yield event[7:]
        yield data_event(b"[DONE]")

    assert len(list(chat("hi"))) == 11
    entry = books.only()
    assert (entry["state"], Decimal(entry["cost"])) == ("settled", krw(usd("gpt-4o", 1000, 200)))
