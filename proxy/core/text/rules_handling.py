"""Sentences of `spendgate check` about what a rule asks beside counting."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "rules.bad_size": {"en": "“{got}” is not a size.", "ko": "‘{got}’은(는) 크기가 아닙니다."},
    "rules.hint.size_form": {
        "en": "Write a whole number with KB, MB or GB, such as 500KB or 1MB; at most 64GB.",
        "ko": "500KB나 1MB처럼 정수에 KB, MB, GB를 붙여 쓰세요. 최대 64GB입니다.",
    },
    "rules.cache_methods": {
        "en": "Answers to {got} are never kept, so this cache would always be empty.",
        "ko": "{got} 요청의 응답은 보관하지 않으므로 이 캐시는 늘 비어 있게 됩니다.",
    },
    "rules.hint.cache_methods_form": {
        "en": "Only GET and POST are answered from the cache: match one of them, or leave “cache” out.",
        "ko": "캐시로 답할 수 있는 메서드는 GET과 POST뿐입니다. 그중 하나를 지정하거나 ‘cache’를 지우세요.",
    },
    "rules.cache_tunnel": {
        "en": "A tunnel (CONNECT) hides its answers, so they cannot be kept.",
        "ko": "터널(CONNECT)에서는 응답이 보이지 않아 보관할 수 없습니다.",
    },
    "rules.cache_larger": {
        "en": "One answer may be larger than all answers together.",
        "ko": "응답 하나의 최대 크기가 전체 최대 크기보다 큽니다.",
    },
    "rules.hint.cache_larger_hint": {
        "en": "Make max_bytes at most as large as max_total (64MB where it is not given).",
        "ko": "max_bytes를 max_total(생략하면 64MB) 이하로 정하세요.",
    },
    "rules.retry_success": {
        "en": "“{got}” is no failure: only statuses from 300 on can be tried again.",
        "ko": "‘{got}’은(는) 실패가 아닙니다. 300 이상의 상태만 다시 시도할 수 있습니다.",
    },
    "rules.retry_failure": {"en": "“{got}” is not a failure.", "ko": "‘{got}’은(는) 실패의 종류가 아닙니다."},
    "rules.hint.retry_failure_form": {
        "en": "Write connect, timeout, or a status such as 429, 5xx or 500-504.",
        "ko": "connect, timeout, 또는 429, 5xx, 500-504 같은 상태를 쓰세요.",
    },
    "rules.retry_attempts": {
        "en": "{got} attempts are too many: at most {most} make sense.",
        "ko": "시도 횟수 {got}번은 너무 많습니다. 최대 {most}번까지 쓸 수 있습니다.",
    },
    "rules.retry_backoff": {
        "en": "The shortest pause (backoff, 200ms where it is not given) is longer than the longest one (max_backoff, 5s).",
        "ko": "가장 짧은 간격(backoff, 생략하면 200ms)이 가장 긴 간격(max_backoff, 생략하면 5s)보다 깁니다.",
    },
    "rules.ladder_set": {
        "en": "“set” must give at least one field its value.",
        "ko": "‘set’에는 필드와 값이 하나 이상 있어야 합니다.",
    },
    "rules.ladder_field": {
        "en": "“{got}” does not name a field: write letters, digits, _ and -, with dots between objects.",
        "ko": "‘{got}’은(는) 필드 이름이 아닙니다. 영문자, 숫자, _, -를 쓰고 객체 안쪽은 점으로 잇습니다.",
    },
    "rules.ladder_value": {
        "en": "“{got}” cannot be set: only text, whole numbers, true and false can.",
        "ko": "‘{got}’은(는) 설정할 수 없습니다. 문자열, 정수, true, false만 쓸 수 있습니다.",
    },
    "rules.ladder_order": {
        "en": "This rung begins below the one before it.",
        "ko": "이 단계가 앞 단계보다 낮은 비율에서 시작합니다.",
    },
    "rules.hint.ladder_order_hint": {
        "en": "Write the rungs with the lowest percent first.",
        "ko": "낮은 비율부터 차례로 쓰세요.",
    },
    "rules.ladder_empty": {"en": "This rung changes nothing.", "ko": "이 단계는 아무것도 바꾸지 않습니다."},
    "rules.hint.ladder_empty_hint": {
        "en": "Give it set, serve_stale or upstream.",
        "ko": "set, serve_stale, upstream 중 하나를 넣으세요.",
    },
    "rules.ladder_free": {
        "en": "These calls are free, so nothing can make them cheaper.",
        "ko": "이 호출은 무료라서 더 싸게 만들 수 없습니다.",
    },
    "rules.ladder_stale": {
        "en": "The rule keeps no answers that could be given.",
        "ko": "이 규칙은 응답을 보관하지 않아 줄 수 있는 응답이 없습니다.",
    },
    "rules.hint.ladder_stale_hint": {
        "en": "Add “cache” to the rule.",
        "ko": "규칙에 ‘cache’를 추가하세요.",
    },
    "rules.ladder_bodiless": {
        "en": "Requests of the method {got} have no JSON body in which a field could be set.",
        "ko": "{got} 요청에는 필드를 설정할 JSON 본문이 없습니다.",
    },
    "rules.ladder_tunnel": {
        "en": "A tunnel (CONNECT) hides its calls, so they cannot be changed.",
        "ko": "터널(CONNECT) 안의 호출은 보이지 않아 바꿀 수 없습니다.",
    },
    "rules.ladder_elsewhere": {
        "en": "“{got}” belongs to a cheaper upstream, and this rung has none.",
        "ko": "‘{got}’은(는) 더 싼 upstream에 딸린 값인데, 이 단계에는 upstream이 없습니다.",
    },
    "rules.hint.ladder_elsewhere_hint": {"en": "Add “upstream”.", "ko": "‘upstream’을 추가하세요."},
    "rules.ladder_catalog": {
        "en": "The price catalogue does not know the provider “{got}”.",
        "ko": "가격 목록에 제공자 ‘{got}’이(가) 없습니다.",
    },
    "rules.ladder_model": {
        "en": "The price catalogue knows no model “{got}” of {catalog}, so nobody can tell whether it is cheaper.",
        "ko": "가격 목록의 {catalog}에 모델 ‘{got}’이(가) 없어 더 싼지 알 수 없습니다.",
    },
}
