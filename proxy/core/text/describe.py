"""Rules in words."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "describe.everything": {"en": "every call of this API", "ko": "이 API의 모든 호출"},
    "describe.header": {"en": "header {test}", "ko": "헤더 {test}"},
    "describe.query": {"en": "query {test}", "ko": "쿼리 {test}"},
    "describe.json": {"en": "body {test}", "ko": "본문 {test}"},
    "describe.present": {"en": "{name} is there", "ko": "{name} 있음"},
    "describe.absent": {"en": "{name} is not there", "ko": "{name} 없음"},
    "describe.free": {"en": "free", "ko": "무료"},
    "describe.catalog": {
        "en": "each model's price from the catalogue ({provider})",
        "ko": "카탈로그의 모델별 가격 ({provider})",
    },
    "describe.tokens": {
        "en": "per million tokens: {prices} {currency}",
        "ko": "토큰 백만 개당 {prices} {currency}",
    },
    "describe.input": {"en": "input", "ko": "입력"},
    "describe.output": {"en": "output", "ko": "출력"},
    "describe.image": {"en": "image", "ko": "이미지"},
    "describe.audio": {"en": "audio", "ko": "오디오"},
    "describe.per_request": {"en": "{price} {currency} a call", "ko": "호출당 {price} {currency}"},
    "describe.per_second": {"en": "{price} {currency} a second", "ko": "초당 {price} {currency}"},
    "describe.per_connection": {"en": "{price} {currency} a connection", "ko": "연결당 {price} {currency}"},
    "describe.per_unit": {"en": "{price} {currency} × ({count})", "ko": "{price} {currency} × ({count})"},
    "describe.per_kb": {
        "en": "{up} up, {down} down {currency} a kilobyte",
        "ko": "킬로바이트당 올림 {up}, 내림 {down} {currency}",
    },
    "describe.tiers": {"en": "{steps} price steps", "ko": "{steps}단계 가격"},
    "describe.free_tier": {"en": "the first {amount} a period are free", "ko": "기간마다 {amount}건까지 무료"},
    "describe.minimum": {"en": "at least {price} {currency}", "ko": "최소 {price} {currency}"},
    "describe.vat": {"en": "{percent} % VAT", "ko": "부가세 {percent}%"},
}
