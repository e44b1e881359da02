"""What the admin API says when it does not do what was asked."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "admin.title.bad_request": {"en": "Bad request", "ko": "잘못된 요청"},
    "admin.title.unauthorized": {"en": "Not identified", "ko": "인증되지 않음"},
    "admin.title.forbidden": {"en": "Not allowed", "ko": "허용되지 않음"},
    "admin.title.not_found": {"en": "Not found", "ko": "찾을 수 없음"},
    "admin.title.method_not_allowed": {"en": "Method not allowed", "ko": "허용되지 않는 메서드"},
    "admin.title.conflict": {"en": "Not possible now", "ko": "지금은 할 수 없음"},
    "admin.title.too_large": {"en": "Too large", "ko": "너무 큼"},
    "admin.title.unsupported_media_type": {"en": "Not JSON", "ko": "JSON이 아님"},
    "admin.title.invalid": {"en": "Invalid values", "ko": "올바르지 않은 값"},
    "admin.title.too_many": {"en": "Too many requests", "ko": "요청이 너무 많음"},
    "admin.title.internal": {"en": "A fault of spendgate", "ko": "spendgate의 오류"},
    "admin.title.unavailable": {"en": "Not available now", "ko": "지금은 쓸 수 없음"},
    "admin.bad_json": {"en": "The body is not valid JSON.", "ko": "본문이 올바른 JSON이 아닙니다."},
    "admin.unsupported_media_type": {
        "en": "Send the body as application/json.",
        "ko": "본문을 application/json으로 보내 주세요.",
    },
    "admin.invalid": {
        "en": "Some values do not fit; “errors” names each of them.",
        "ko": "맞지 않는 값이 있습니다. ‘errors’에 하나씩 적혀 있습니다.",
    },
    "admin.not_found": {"en": "There is nothing at this address.", "ko": "이 주소에는 아무것도 없습니다."},
    "admin.method_not_allowed": {
        "en": "This address does not answer to that method.",
        "ko": "이 주소에서는 그 메서드를 쓸 수 없습니다.",
    },
    "admin.internal": {
        "en": "Something went wrong inside spendgate; its log says what.",
        "ko": "spendgate 안에서 문제가 생겼습니다. 자세한 내용은 로그에 있습니다.",
    },
    "admin.store_unavailable": {"en": "The store does not answer: {why}.", "ko": "저장소가 응답하지 않습니다: {why}."},
    "admin.no_rules": {
        "en": "No rules are loaded: rules.yaml has mistakes, which GET /api/v1/rules lists.",
        "ko": "불러온 규칙이 없습니다. rules.yaml에 오류가 있으며, GET /api/v1/rules에서 볼 수 있습니다.",
    },
    "admin.no_token": {
        "en": "Send a token that rules.yaml names under “admin”: Authorization: Bearer TOKEN.",
        "ko": "rules.yaml의 ‘admin’에 있는 토큰을 Authorization: Bearer 토큰 형식으로 보내 주세요.",
    },
    "admin.bad_token": {"en": "No such token is known.", "ko": "알 수 없는 토큰입니다."},
    "admin.loopback_only": {
        "en": "rules.yaml names no admin tokens, so only this machine itself is served.",
        "ko": "rules.yaml에 관리 토큰이 없어서 이 컴퓨터에서 온 요청만 받습니다.",
    },
    "admin.foreign_host": {
        "en": "Without admin tokens this port answers only to loopback names such as 127.0.0.1 and localhost.",
        "ko": "관리 토큰이 없으면 127.0.0.1이나 localhost 같은 루프백 이름으로만 접속할 수 있습니다.",
    },
    "admin.foreign_page": {
        "en": "A page of another site made this request; it is refused.",
        "ko": "다른 사이트의 페이지가 보낸 요청이라 거절합니다.",
    },
    "admin.role_too_low": {
        "en": "Your role is {role}; this needs {needed}.",
        "ko": "현재 역할은 {role}이며, 이 작업에는 {needed} 역할이 필요합니다.",
    },
    "admin.bad_span": {
        "en": "The span must end on or after its first day and have at most {most} days.",
        "ko": "기간은 첫날 이후에 끝나야 하고 최대 {most}일이어야 합니다.",
    },
    "admin.no_entry": {"en": "The ledger has no call {id}.", "ko": "원장에 {id} 호출이 없습니다."},
    "admin.old_page": {
        "en": "This page is too old to act on. It was loaded anew; please try again.",
        "ko": "오래된 페이지라 처리하지 않았습니다. 새로 불러왔으니 다시 시도해 주세요.",
    },
    "admin.trial.free": {"en": "This call is free: it passes at every level.", "ko": "무료 호출이라 항상 통과합니다."},
    "admin.trial.passes": {"en": "This call would pass now.", "ko": "지금 이 호출은 통과합니다."},
    "admin.trial.unpriced": {
        "en": "No rule prices this call. It would pass and be recorded as unpriced.",
        "ko": "이 호출에 맞는 규칙이 없습니다. 통과하지만 가격 없이 기록됩니다.",
    },
    "admin.trial.no_rule": {
        "en": "No rule prices this call. It would be refused (403).",
        "ko": "이 호출에 맞는 규칙이 없어 거절됩니다 (403).",
    },
    "admin.trial.budget_stopped": {
        "en": "This call would be refused: a budget is used up (503).",
        "ko": "예산을 다 써서 거절됩니다 (503).",
    },
    "admin.trial.budget_restricted": {
        "en": "This call would be refused: a budget lets only essential calls pass (402).",
        "ko": "예산이 필수 호출만 통과시키는 상태라 거절됩니다 (402).",
    },
    "admin.trial.budget_insufficient": {
        "en": "This call would be refused: it may cost more than is left (402, essential calls 503).",
        "ko": "남은 예산보다 많이 들 수 있어 거절됩니다 (402, 필수 호출은 503).",
    },
}
