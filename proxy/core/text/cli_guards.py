"""Sentences of the command line about rate limits and circuit breakers."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.breaker.summary": {
        "en": "Show circuit breakers; open, close or reset one by hand.",
        "ko": "회로 차단기를 보여 주고, 직접 열거나 닫거나 초기화합니다.",
    },
    "cli.breaker.about": {
        "en": """A circuit breaker stops the calls of an API (or of one rule) that keeps failing. Closed means that
            traffic flows, open that none does, half-open that a few calls try whether it works again.

            list shows all of them. open stops the calls until somebody closes the circuit. close lets them flow and
            counts anew. reset forgets everything, also how often it has opened. The last three need a reason, and
            hold for every proxy on the same store from the next call on.""",
        "ko": """회로 차단기는 계속 실패하는 API(또는 규칙)의 호출을 멈춥니다. 닫힘은 호출이 통과하는 상태, 열림은 멈춘
            상태, 반열림은 몇 건의 호출로 회복을 시험하는 상태입니다.

            list는 모두 보여 줍니다. open은 누군가 닫을 때까지 호출을 멈추고, close는 다시 통과시키며 새로 셉니다. reset은
            열린 횟수까지 모두 잊습니다. 뒤의 세 가지에는 사유가 필요하며, 같은 저장소를 쓰는 모든 프록시에 다음 호출부터
            적용됩니다.""",
    },
    "cli.breaker.examples": {
        "en": """\
spendgate breaker list
spendgate breaker open openai --reason "maintenance until noon"
spendgate breaker close openai --reason "it works again\"""",
        "ko": """\
spendgate breaker list
spendgate breaker open openai --reason "정오까지 점검"
spendgate breaker close openai --reason "다시 작동함\"""",
    },
    "cli.breaker.none": {
        "en": "No API and no rule has a circuit breaker. Add “breaker” to one in rules.yaml.",
        "ko": "회로 차단기가 있는 API나 규칙이 없습니다. rules.yaml에 ‘breaker’를 추가하세요.",
    },
    "cli.breaker.no_name": {
        "en": "which circuit? Name an API or a rule: spendgate breaker {action} NAME --reason TEXT",
        "ko": "어느 회로입니까? API나 규칙의 이름을 쓰세요: spendgate breaker {action} NAME --reason TEXT",
    },
    "cli.breaker.done.open": {
        "en": "The circuit of {name} is open: no call passes until it is closed (it was {before}; audit entry {number}).",
        "ko": "{name}의 회로를 열었습니다. 닫을 때까지 호출하지 않습니다 (이전: {before}, 감사 기록 {number}).",
    },
    "cli.breaker.done.close": {
        "en": "The circuit of {name} is closed: calls pass (it was {before}; audit entry {number}).",
        "ko": "{name}의 회로를 닫았습니다. 호출이 통과합니다 (이전: {before}, 감사 기록 {number}).",
    },
    "cli.breaker.done.reset": {
        "en": "The circuit of {name} is as if it had never been used (it was {before}; audit entry {number}).",
        "ko": "{name}의 회로를 처음 상태로 되돌렸습니다 (이전: {before}, 감사 기록 {number}).",
    },
    "cli.breaker.closed": {"en": "closed (traffic flows)", "ko": "닫힘(호출 통과)"},
    "cli.breaker.open": {"en": "open (no traffic)", "ko": "열림(호출 중지)"},
    "cli.breaker.half_open": {"en": "half-open (a few probes)", "ko": "반열림(시험 중)"},
    "cli.breaker.until": {"en": "next probe at {when}", "ko": "다음 시험 {when}"},
    "cli.breaker.why.failures": {"en": "too many failures", "ko": "실패가 많음"},
    "cli.breaker.why.consecutive": {"en": "failures in a row", "ko": "연속 실패"},
    "cli.breaker.why.slow": {"en": "too many slow answers", "ko": "느린 응답이 많음"},
    "cli.breaker.why.probe_failed": {"en": "a probe failed", "ko": "시험 호출 실패"},
    "cli.breaker.why.probe_slow": {"en": "a probe was slow", "ko": "시험 호출이 느림"},
    "cli.breaker.why.by_hand": {"en": "by hand", "ko": "직접 열림"},
    "cli.status.guards": {"en": "Limits and circuits", "ko": "제한과 회로"},
    "cli.status.guard": {"en": "of", "ko": "대상"},
    "cli.status.guard_now": {"en": "now", "ko": "현재"},
    "cli.status.circuit": {"en": "circuit", "ko": "회로"},
    "cli.status.paused": {"en": "paused until {until}, as the API asked", "ko": "API의 요청으로 {until}까지 멈춤"},
    "cli.status.limit": {"en": "{used} of {limit}", "ko": "{limit} 중 {used}"},
    "cli.status.limit_resets": {"en": "all back in {seconds} s", "ko": "{seconds}초 뒤 모두 회복"},
}
