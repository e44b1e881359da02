"""What a Python program is told that calls APIs through the decorators."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "denial.no_such_api": {
        "en": "rules.yaml has no API named “{api}”, so the call was not made. It has these: {known}.",
        "ko": "rules.yaml에 ‘{api}’(이)라는 API가 없어 호출하지 않았습니다. 있는 API: {known}.",
    },
    "denial.no_such_rule": {
        "en": "The API “{api}” has no rule named “{rule}”, so the call was not made. It has these: {known}.",
        "ko": "API ‘{api}’에 ‘{rule}’(이)라는 규칙이 없어 호출하지 않았습니다. 있는 규칙: {known}.",
    },
    "denial.no_rule_for_function": {
        "en": "Several rules of the API “{api}” could price {function}, so the call was not made. Say which with rule= or "
        "path=, or state the price with estimate= and cost=. The rules: {known}.",
        "ko": "API ‘{api}’에 {function}의 가격을 정할 수 있는 규칙이 여럿이라 호출하지 않았습니다. rule=이나 path=로 규칙을 고르거나 "
        "estimate=와 cost=로 금액을 알려 주세요. 규칙: {known}.",
    },
    "denial.no_rule_fits": {
        "en": "No rule of the API “{api}” covers {target}, so {function} was not called. The rules: {known}.",
        "ko": "API ‘{api}’에 {target}에 맞는 규칙이 없어 {function}을(를) 호출하지 않았습니다. 규칙: {known}.",
    },
    "denial.stream_ran_out": {
        "en": "The budget has no more money for the stream of {function}, and its rule ends streams early. What has come is "
        "charged.",
        "ko": "{function}의 스트림을 이어 갈 예산이 남지 않아 규칙에 따라 일찍 끝냈습니다. 받은 만큼만 청구됩니다.",
    },
    "denial.unnamed_caller": {
        "en": "These rules ask every program who it is. Say it with configure(caller=...) or SPENDGATE_CALLER; the rules "
        "know: {known}.",
        "ko": "이 규칙은 호출자를 밝히도록 요구합니다. configure(caller=...)나 SPENDGATE_CALLER로 알려 주세요. 등록된 호출자: {known}.",
    },
    "denial.unlisted_caller": {
        "en": "The rules know no caller named “{caller}”. They know: {known}.",
        "ko": "규칙에 ‘{caller}’(이)라는 호출자가 없습니다. 등록된 호출자: {known}.",
    },
    "inprocess.model_unseen": {
        "en": "The arguments do not say which model is called, so the dearest was assumed: name it with "
        'request={{"model": "..."}}, or state the most that a call can cost with estimate=.',
        "ko": '인자에서 어떤 모델을 부르는지 알 수 없어 가장 비싼 모델로 계산했습니다. request={{"model": "..."}}로 모델을 알려 주거나 '
        "estimate=로 호출 한 번의 최대 금액을 정해 주세요.",
    },
    "inprocess.rules_refused": {
        "en": "The rules cannot be used:\n{mistakes}",
        "ko": "규칙 파일을 쓸 수 없습니다:\n{mistakes}",
    },
    "inprocess.bad_amount": {
        "en": "{value} is not an amount: use a number in {currency}, or text like “0.02 USD”.",
        "ko": "{value}은(는) 금액이 아닙니다. {currency} 단위의 숫자나 “0.02 USD”와 같은 글자로 써 주세요.",
    },
    "inprocess.no_rate": {
        "en": "{value} cannot be counted: rules.yaml has no rate for {currency} under fx.",
        "ko": "{value}을(를) 계산할 수 없습니다. rules.yaml의 fx에 {currency} 환율이 없습니다.",
    },
    "inprocess.not_started": {
        "en": "The connection to the store could not be set up: {problem}",
        "ko": "저장소 연결을 준비하지 못했습니다: {problem}",
    },
}
