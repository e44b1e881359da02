"""Sentences and titles of refusals."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "denial.budget_restricted.title": {"en": "Budget restricted", "ko": "예산 제한"},
    "denial.budget_restricted": {
        "en": "The budget “{budget}” ({period}) has spent {spent} of {limit}, which is at or above its restrict threshold "
        "of {restrict}. Only essential calls pass until {resets_at}.",
        "ko": "예산 ‘{budget}’({period})에서 {limit} 중 {spent}을 써서 제한 기준 {restrict}에 이르렀습니다. "
        "{resets_at}까지는 필수 호출만 통과합니다.",
    },
    "denial.budget_insufficient.title": {"en": "Budget insufficient", "ko": "예산 부족"},
    "denial.budget_insufficient": {
        "en": "This call may cost up to {estimate}, and the budget “{budget}” ({period}) has only {left} left of {limit}. "
        "Ask for less, or wait until {resets_at}.",
        "ko": "이 호출에는 최대 {estimate}이 들 수 있는데, 예산 ‘{budget}’({period})에는 {limit} 중 {left}만 남아 있습니다. "
        "요청을 줄이거나 {resets_at}까지 기다려 주세요.",
    },
    "denial.budget_stopped.title": {"en": "Budget used up", "ko": "예산 소진"},
    "denial.budget_stopped": {
        "en": "The budget “{budget}” ({period}) has spent {spent} of {limit} and has {left} left, which does not cover this "
        "call. Calls that cost money are stopped until {resets_at}.",
        "ko": "예산 ‘{budget}’({period})에서 {limit} 중 {spent}을 써서 {left}이 남았고, 이 호출을 감당할 수 없습니다. "
        "비용이 드는 호출은 {resets_at}까지 중단됩니다.",
    },
    "denial.budget_busy.title": {"en": "Budget held by calls in flight", "ko": "진행 중인 호출이 예산을 잡고 있음"},
    "denial.budget_busy": {
        "en": "Calls in flight hold {reserved} of the budget “{budget}” ({period}), of which {spent} of {limit} is spent. "
        "The money is not gone: try again in a moment.",
        "ko": "진행 중인 호출이 예산 ‘{budget}’({period})에서 {reserved}을 잡고 있습니다. 실제 지출은 {limit} 중 {spent}입니다. "
        "예산이 소진된 것은 아니니 잠시 뒤에 다시 시도해 주세요.",
    },
    "denial.service_stopped.title": {"en": "Stopped", "ko": "중지됨"},
    "denial.service_stopped": {
        "en": "All calls that cost money are stopped, until somebody starts them again.",
        "ko": "비용이 드는 모든 호출이 중지되어 있으며, 담당자가 다시 시작할 때까지 계속됩니다.",
    },
    "denial.service_stopped.until": {
        "en": "All calls that cost money are stopped until {until}.",
        "ko": "비용이 드는 모든 호출이 {until}까지 중지되어 있습니다.",
    },
    "denial.service_stopped.api": {
        "en": "The API “{name}” is stopped, until somebody starts it again.",
        "ko": "API ‘{name}’의 호출이 중지되어 있으며, 담당자가 다시 시작할 때까지 계속됩니다.",
    },
    "denial.service_stopped.api.until": {
        "en": "The API “{name}” is stopped until {until}.",
        "ko": "API ‘{name}’의 호출이 {until}까지 중지되어 있습니다.",
    },
    "denial.service_stopped.rule": {
        "en": "The calls of the rule “{name}” are stopped, until somebody starts them again.",
        "ko": "규칙 ‘{name}’에 해당하는 호출이 중지되어 있으며, 담당자가 다시 시작할 때까지 계속됩니다.",
    },
    "denial.service_stopped.rule.until": {
        "en": "The calls of the rule “{name}” are stopped until {until}.",
        "ko": "규칙 ‘{name}’에 해당하는 호출이 {until}까지 중지되어 있습니다.",
    },
    "denial.service_stopped.caller": {
        "en": "The calls of “{name}” are stopped, until somebody starts them again.",
        "ko": "호출자 ‘{name}’의 호출이 중지되어 있으며, 담당자가 다시 시작할 때까지 계속됩니다.",
    },
    "denial.service_stopped.caller.until": {
        "en": "The calls of “{name}” are stopped until {until}.",
        "ko": "호출자 ‘{name}’의 호출이 {until}까지 중지되어 있습니다.",
    },
    "denial.rate_limited.title": {"en": "Rate limited", "ko": "요청 제한"},
    "denial.rate_limited": {
        "en": "The limit of {limit} for {scope} is used up: {used} of {most} in the last {window}, and this call would add "
        "{asked}. There is room again in {retry}.",
        "ko": "{scope}의 {limit} 제한을 다 썼습니다. 최근 {window} 동안 {most} 중 {used}을(를) 썼고, 이 호출이 {asked}을(를) "
        "더합니다. {retry} 뒤에 자리가 납니다.",
    },
    "denial.rate_limited.alone": {
        "en": "This call alone may take {asked}, and the limit of {limit} for {scope} allows {most}. Waiting does not help: "
        "ask for less.",
        "ko": "이 호출 하나에만 {asked}이(가) 들 수 있는데, {scope}의 {limit} 제한은 {most}입니다. 기다려도 통과할 수 없으니 요청을 "
        "줄여 주세요.",
    },
    "denial.rate_limited.concurrent": {
        "en": "{used} calls are under way for {scope}, and {most} are allowed at once. Try again in a moment.",
        "ko": "{scope}에서 호출 {used}건이 진행 중이며, 동시에 {most}건까지 허용됩니다. 잠시 뒤에 다시 시도해 주세요.",
    },
    "denial.rate_limited.paused": {
        "en": "The API “{api}” has asked for a pause, so nobody calls it for {retry}.",
        "ko": "API ‘{api}’가 잠시 멈춰 달라고 요청해, {retry} 동안 호출하지 않습니다.",
    },
    "denial.seconds": {"en": "{number} s", "ko": "{number}초"},
    "denial.per.second": {"en": "second", "ko": "1초"},
    "denial.per.minute": {"en": "minute", "ko": "1분"},
    "denial.per.hour": {"en": "hour", "ko": "1시간"},
    "denial.per.day": {"en": "day", "ko": "하루"},
    "denial.circuit_open.title": {"en": "Circuit open", "ko": "회로 열림"},
    "denial.circuit_open": {
        "en": "“{name}” has been failing, so no call is made for now. It is tried again in {retry}.",
        "ko": "‘{name}’에서 오류가 이어져 지금은 호출하지 않습니다. {retry} 뒤에 다시 시험합니다.",
    },
    "denial.circuit_open.half": {
        "en": "“{name}” has been failing and is being tried by a few calls. If they succeed, all pass again.",
        "ko": "‘{name}’에서 오류가 이어져 몇 건의 호출로 시험하고 있습니다. 성공하면 모두 다시 통과합니다.",
    },
    "denial.circuit_open.by_hand": {
        "en": "The circuit of “{name}” was opened by hand, and stays open until somebody closes it.",
        "ko": "‘{name}’의 회로를 담당자가 열어 두었으며, 닫을 때까지 호출하지 않습니다.",
    },
    "denial.no_rule.title": {"en": "No rule for this destination", "ko": "이 목적지에 대한 규칙이 없음"},
    "denial.no_rule": {
        "en": "No rule in rules.yaml covers {method} {target}, so the call was not made. Add the API or a price rule for it.",
        "ko": "rules.yaml에 {method} {target}에 대한 규칙이 없어 호출하지 않았습니다. API나 가격 규칙을 추가해 주세요.",
    },
    "denial.no_mount": {
        "en": "Nothing is mounted at {target}. Known mounts: {mounts}.",
        "ko": "{target}에 연결된 API가 없습니다. 사용할 수 있는 경로: {mounts}.",
    },
    "denial.opaque_tunnel": {
        "en": "A tunnel to {target} hides its calls, so they cannot be priced. Use the base URL http://<proxy>/{mount}, or "
        "add a rule with per_connection or per_kb that matches method CONNECT.",
        "ko": "{target}(으)로 가는 터널은 호출 내용이 보이지 않아 가격을 매길 수 없습니다. 기본 URL http://<proxy>/{mount} 을(를) "
        "쓰거나, CONNECT 메서드에 맞는 per_connection 또는 per_kb 규칙을 추가해 주세요.",
    },
    "denial.no_websocket_rule": {
        "en": "No rule in rules.yaml prices a WebSocket to {target}, so it was not opened. Add one with per_connection, "
        "per_message, per_minute, per_kb, tokens or catalog.",
        "ko": "rules.yaml에 {target}(으)로 가는 WebSocket의 가격 규칙이 없어 열지 않았습니다. per_connection, per_message, "
        "per_minute, per_kb, tokens, catalog 가운데 하나로 규칙을 추가해 주세요.",
    },
    "denial.private_destination": {
        "en": "{target} is an address of the private network and no rule names it, so the call was not made.",
        "ko": "{target}은(는) 사설망 주소이고 이를 지정한 규칙이 없어 호출하지 않았습니다.",
    },
    "denial.unknown_caller.title": {"en": "Unknown caller", "ko": "알 수 없는 호출자"},
    "denial.unknown_caller": {
        "en": "This proxy asks for a caller key, and the request carried none that it knows.",
        "ko": "이 프록시는 호출자 키를 요구하는데, 요청에 등록된 키가 없습니다.",
    },
    "denial.store_unavailable.title": {"en": "Budget store unavailable", "ko": "예산 저장소에 연결할 수 없음"},
    "denial.store_unavailable": {
        "en": "The store that counts the money does not answer, so no paid call is made. It is retried continuously.",
        "ko": "비용을 집계하는 저장소가 응답하지 않아 유료 호출을 하지 않았습니다. 계속 다시 연결하고 있습니다.",
    },
    "denial.upstream_unreachable.title": {"en": "API unreachable", "ko": "API에 연결할 수 없음"},
    "denial.upstream_unreachable": {
        "en": "The API “{api}” could not be reached or broke off its answer: {problem}.",
        "ko": "API ‘{api}’에 연결할 수 없거나 응답이 도중에 끊겼습니다: {problem}.",
    },
    "denial.upstream_timeout.title": {"en": "API timed out", "ko": "API 응답 시간 초과"},
    "denial.upstream_timeout": {
        "en": "The API “{api}” did not answer in time: {problem}.",
        "ko": "API ‘{api}’가 제시간에 응답하지 않았습니다: {problem}.",
    },
    "denial.not_kept.title": {"en": "No kept answer", "ko": "보관된 응답이 없음"},
    "denial.not_kept": {
        "en": "The request asks for a kept answer or none (Cache-Control: only-if-cached), and there is none.",
        "ko": "보관된 응답만 받겠다는 요청(Cache-Control: only-if-cached)인데, 보관된 응답이 없습니다.",
    },
    "denial.bad_request.title": {"en": "Bad request", "ko": "잘못된 요청"},
    "denial.bad_request": {
        "en": "The request was not forwarded. {problem}",
        "ko": "요청을 전달하지 않았습니다. {problem}",
    },
    "denial.head_too_large.title": {"en": "Request head too large", "ko": "요청 헤더가 너무 큼"},
    "denial.head_too_large": {
        "en": "The request was not forwarded. {problem}",
        "ko": "요청을 전달하지 않았습니다. {problem}",
    },
    "denial.body_too_large.title": {"en": "Request body too large", "ko": "요청 본문이 너무 큼"},
    "denial.body_too_large": {
        "en": "The request was not forwarded. {problem}",
        "ko": "요청을 전달하지 않았습니다. {problem}",
    },
}
