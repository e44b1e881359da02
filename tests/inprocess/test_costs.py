"""What a call costs: by its rule, by the program's own word, and when nobody says."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from proxy import BudgetExceededException, ConfigurationError, NoRuleException, budget, budget_controlled_api
from tests.inprocess.conftest import Books, usage_of

RATE = Decimal(1390)
MINI_IN, MINI_OUT = Decimal("0.15") / 10**6, Decimal("0.6") / 10**6  # dollars a token of gpt-4o-mini


def chat_completion(model: str = "gpt-4o-mini") -> dict[str, Any]:
    return {
        "object": "chat.completion",
        "model": model,
        "choices": [{"message": {"role": "assistant", "content": "Hello."}}],
        "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
    }


def won(dollars: Decimal) -> str:
    return format((dollars * RATE).quantize(Decimal("0.000001")).normalize(), "f")


def test_a_models_own_price_from_the_arguments_and_the_result(books: Books) -> None:
    @budget_controlled_api("openai")
    def chat(messages: list[dict[str, str]], model: str = "gpt-4o-mini", max_tokens: int = 50) -> dict[str, Any]:
        return chat_completion()

    chat([{"role": "user", "content": "Hi"}])
    entry = books.only()
    assert (entry["rule"], entry["model"], entry["state"]) == ("openai/models", "gpt-4o-mini", "settled")
    assert entry["cost"] == won(19 * MINI_IN + 10 * MINI_OUT)
    assert usage_of(entry)["output_tokens"] == 10
    assert Decimal(entry["estimate"]) < 2  # 50 tokens of output were asked for, not the model's most


def test_the_request_is_laid_over_the_arguments(books: Books) -> None:
    @budget_controlled_api("openai", request={"model": "gpt-4o-mini", "max_tokens": 10})
    def ask(prompt: str) -> dict[str, Any]:
        return chat_completion()

    ask("hello")
    assert Decimal(books.only()["estimate"]) < 1


def test_the_request_as_a_function_of_the_arguments(books: Books) -> None:
    def as_request(numbers: list[str], body: str) -> dict[str, Any]:
        return {"to": numbers, "text": body}

    @budget_controlled_api("sms", request=as_request)
    def send(numbers: list[str], body: str) -> None: ...

    send(["1", "2", "3"], "x")
    assert books.only()["cost"] == "29.7"


def test_the_usage_is_found_where_the_program_says(books: Books) -> None:
    @budget_controlled_api("openai", request={"model": "gpt-4o-mini"}, response=lambda result: result[1])
    def ask(prompt: str) -> tuple[str, dict[str, Any]]:
        return "Hello.", chat_completion()

    assert ask("hi")[0] == "Hello."
    assert books.only()["state"] == "settled"


def test_an_answer_of_the_responses_api_is_read_as_one(books: Books) -> None:
    @budget_controlled_api("openai", request={"model": "gpt-4o-mini", "max_output_tokens": 100})
    def ask(prompt: str) -> dict[str, Any]:
        usage = {"input_tokens": 8, "output_tokens": 4, "total_tokens": 12}
        return {"object": "response", "model": "gpt-4o-mini", "output": [], "usage": usage}

    ask("hi")
    entry = books.only()
    assert (entry["state"], entry["cost"]) == ("settled", won(8 * MINI_IN + 4 * MINI_OUT))


def test_a_result_that_says_no_usage_leaves_the_estimate(books: Books) -> None:
    @budget_controlled_api("openai", request={"model": "gpt-4o-mini", "max_tokens": 10})
    def ask(prompt: str) -> str:
        return "Hello."

    ask("hi")
    entry = books.only()
    assert (entry["state"], entry["note"], entry["cost"]) == ("estimated", "usage_missing", entry["estimate"])


def test_a_count_over_the_answer(books: Books) -> None:
    @budget_controlled_api("pages")
    def read(file: object) -> dict[str, int]:
        return {"pages": 4}

    read(object())
    entry = books.only()
    assert (entry["estimate"], entry["cost"]) == ("300", "12")


def test_a_function_of_its_own_rule_by_name(books: Books) -> None:
    @budget_controlled_api("two")
    def translate(text: str) -> str:
        return text

    translate("x")
    assert (books.only()["rule"], books.only()["cost"]) == ("two/own", "7")


@pytest.mark.parametrize(
    ("more", "rule"),
    [({"rule": "dear"}, "two/dear"), ({"rule": "two/cheap"}, "two/cheap"), ({"path": "/dear"}, "two/dear")],
)
def test_a_rule_by_its_name_or_by_the_path_of_the_request(books: Books, more: dict[str, Any], rule: str) -> None:
    @budget_controlled_api("two", **more)
    def call() -> None: ...

    call()
    assert books.only()["rule"] == rule


@pytest.mark.parametrize(
    ("api", "more", "words"),
    [
        ("mpa", {}, "no API named “mpa”, so the call was not made. It has these: map"),
        ("two", {}, "Several rules of the API “two” could price tests.inprocess"),
        ("two", {"rule": "deer"}, "no rule named “deer”, so the call was not made. It has these: dear"),
        ("two", {"path": "/else"}, "No rule of the API “two” covers POST /else"),
    ],
)
def test_a_call_that_no_rule_prices_is_refused_and_says_what_helps(
    books: Books, api: str, more: dict[str, Any], words: str
) -> None:
    @budget_controlled_api(api, **more)
    def call() -> None:
        raise AssertionError("it ran")

    with pytest.raises(NoRuleException, match=re.escape(words)) as refused:
        call()
    assert refused.value.reason == "no_rule"
    assert refused.value.message("ko").endswith(".")


# --- the program's own word ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "cost"),
    [(12.5, "12.5"), ("12.5", "12.5"), (Decimal("0.000001"), "0.000001"), (3, "3"), ("0.02 USD", "27.8"), (0, "0")],
)
def test_a_fixed_cost_in_every_form(books: Books, amount: Any, cost: str) -> None:
    @budget_controlled_api("small", cost=amount, estimate=amount)
    def call() -> None: ...

    if Decimal(cost) > 10:
        with pytest.raises(BudgetExceededException):
            call()
    else:
        call()
        assert (books.only()["cost"], books.only()["state"]) == (cost, "settled")


def test_a_cost_by_the_result(books: Books) -> None:
    @budget_controlled_api("map", estimate=lambda words: len(words), cost=lambda result: len(result) * 0.5)
    def translate(words: str) -> str:
        assert books.level()["reserved"] == len(words)
        return words[:4]

    translate("x" * 30)
    entry = books.only()
    assert (entry["estimate"], entry["cost"], entry["state"]) == ("30", "2", "settled")


def test_a_cost_by_the_items_of_a_stream(books: Books) -> None:
    @budget_controlled_api("map", estimate=50, cost=lambda items: 2 * len(items))
    def stream() -> Iterator[int]:
        yield from range(5)

    assert list(stream()) == [0, 1, 2, 3, 4]
    made = stream()
    next(made)
    made.close()  # type: ignore[attr-defined]
    assert [entry["cost"] for entry in books.entries()] == ["10", "2"]


def test_a_cost_function_that_fails_keeps_the_result_and_charges_the_estimate(
    books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    @budget_controlled_api("map", estimate=5, cost=lambda result: result["price"])
    def call() -> dict[str, int]:
        return {"value": 1}

    assert call() == {"value": 1}
    entry = books.only()
    assert (entry["cost"], entry["state"], entry["note"]) == ("5", "estimated", "cost_failed")
    assert "cost.failed" in caplog.text


@pytest.mark.parametrize("amount", ["many", "1 XYZ", -1, float("nan"), True, "5 JPY"])
def test_what_is_no_amount_is_said_before_anything_is_reserved(books: Books, amount: Any) -> None:
    @budget_controlled_api("map", estimate=amount)
    def call() -> None: ...

    with pytest.raises(ConfigurationError, match=r"amount|rate"):
        call()
    assert books.in_flight() == 0


# --- exceptions ------------------------------------------------------------------------------------------------------


class StatusError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status_code = status


@pytest.mark.parametrize(
    ("error", "cost", "status"),
    [
        (StatusError(429), "0", "429"),  # rules charge 2xx only
        (StatusError(500), "0", "500"),
        (ConnectionRefusedError("no"), "0", ""),  # never sent
        (TimeoutError("late"), "2", ""),  # may have been billed
        (KeyboardInterrupt(), "2", ""),
    ],
)
def test_an_exception_is_charged_as_the_call_may_have_been(
    books: Books, error: BaseException, cost: str, status: str
) -> None:
    @budget_controlled_api("map")
    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        call()
    entry = books.only()
    assert (entry["cost"], entry["status"]) == (cost, status)


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_a_block_charges_what_it_stated(books: Books) -> None:
    with budget("openai", estimate=20) as call:
        assert (call.reserved, call.currency, call.charged, call.state) == (20, "KRW", None, None)
        call.cost(3)
        call.cost("0.005 USD")
    assert (call.charged, call.state) == (Decimal("6.95"), "settled")
    entry = books.only()
    assert (entry["id"], entry["cost"], entry["original_cost"], entry["original_currency"]) == (
        call.id,
        "6.95",
        "0.005",
        "USD",
    )
    assert entry["path"] == "tests.inprocess.test_costs.test_a_block_charges_what_it_stated"


def test_a_block_prices_the_answer_that_it_is_shown(books: Books) -> None:
    with budget("openai", request={"model": "gpt-4o-mini", "max_tokens": 20}, name="nightly") as call:
        call.response(chat_completion())
    entry = books.only()
    assert (entry["cost"], entry["state"], entry["path"]) == (
        won(19 * MINI_IN + 10 * MINI_OUT),
        "settled",
        "nightly",
    )


def test_a_block_that_states_nothing_is_charged_its_estimate(books: Books) -> None:
    with budget("two", estimate=20):
        pass
    entry = books.only()
    assert (entry["rule"], entry["cost"], entry["state"], entry["note"]) == (
        "two/stated",
        "20",
        "estimated",
        "cost_not_stated",
    )


def test_a_block_that_fails_is_charged_what_it_had_stated(books: Books) -> None:
    def nightly() -> None:
        with budget("small", estimate=5) as call:
            call.cost(4)
            raise LookupError

    with pytest.raises(LookupError):
        nightly()
    assert books.only()["cost"] == "4"


def test_a_block_can_give_the_money_back(books: Books) -> None:
    with budget("small", estimate=5) as call:
        call.release()
    assert (call.charged, call.state) == (0, "released")
    assert books.entries() == []
    assert books.level("small") == {"spent": 0, "reserved": 0}


def test_a_block_is_one_call(books: Books) -> None:
    block = budget("small", estimate=1)
    with block, pytest.raises(RuntimeError, match="one call"), block:
        pass
    assert len(books.entries()) == 1


async def test_an_async_block(books: Books) -> None:
    async with budget("small", estimate=5) as call:
        call.cost(2)
    assert books.only()["cost"] == "2"
    assert call.charged == 2


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_refusal_tells_the_numbers_in_both_languages_and_survives_a_pickle(books: Books) -> None:
    with pytest.raises(BudgetExceededException) as refused, budget("small", estimate=11):
        pass
    error = pickle.loads(pickle.dumps(refused.value))
    assert str(error) == str(refused.value)
    assert "This call may cost up to 11 KRW, and the budget “small”" in str(error)
    assert "이 호출에는 최대 11원이 들 수 있는데" in error.message("ko")
    assert error.resets_at is not None
    assert error.resets_at.isoformat().endswith("-01T00:00:00+09:00")
    assert error.retry_after is not None
    assert error.retry_after > 0
    assert error.should_retry is False


def test_an_estimate_without_a_model_says_how_to_name_it(books: Books) -> None:
    with budget("two", cost=14_000, estimate=14_000):
        pass

    @budget_controlled_api("openai")
    def ask(prompt: str) -> str:
        return prompt

    with pytest.raises(BudgetExceededException, match=r"request=\{\"model\": \"\.\.\.\"\}"):
        ask("hello")
