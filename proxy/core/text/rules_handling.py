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
}
