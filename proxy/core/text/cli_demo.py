"""What the demonstration says."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.demo.title": {
        "en": "1,000 won, three paid APIs, and calls until the money is gone",
        "ko": "1,000원과 유료 API 세 개, 그리고 돈이 떨어질 때까지의 호출",
    },
    "cli.demo.plot": {
        "en": """A simulator of a chat, a map and an SMS API runs on this machine, and before it a proxy with a budget
            of 1,000 KRW. Map searches are optional, chats important, SMS essential.""",
        "ko": """이 컴퓨터에 채팅·지도·문자 API의 모의 서버가 떠 있고, 그 앞에 예산 1,000원의 프록시가 있습니다.
            지도 검색은 선택, 채팅은 중요, 문자는 필수 호출입니다.""",
    },
    "cli.demo.label.free": {"en": "list models (free)", "ko": "모델 목록 (무료)"},
    "cli.demo.label.unknown": {"en": "list files (no rule says what it costs)", "ko": "파일 목록 (가격 규칙 없음)"},
    "cli.demo.label.too_large": {"en": "chat asking for up to 8,000 tokens", "ko": "최대 8,000토큰을 바라는 채팅"},
    "cli.demo.label.held": {
        "en": "chat asking for up to 2,400 tokens, while a stream runs",
        "ko": "스트림이 진행되는 동안 최대 2,400토큰을 바라는 채팅",
    },
    "cli.demo.label.chat": {"en": "chat", "ko": "채팅"},
    "cli.demo.label.map": {"en": "map search", "ko": "지도 검색"},
    "cli.demo.label.essential": {"en": "SMS (essential)", "ko": "문자 (필수)"},
    "cli.demo.short.chat": {"en": "chat", "ko": "채팅"},
    "cli.demo.short.stream": {"en": "streamed chat", "ko": "스트림 채팅"},
    "cli.demo.short.map": {"en": "map", "ko": "지도"},
    "cli.demo.short.sms": {"en": "SMS", "ko": "문자"},
    "cli.demo.costs_nothing": {"en": "costs nothing, passes always", "ko": "무료라서 언제나 통과합니다"},
    "cli.demo.crossed_warn": {
        "en": "{percent} % of the budget is spent. The crossing is recorded, once.",
        "ko": "예산의 {percent} %를 썼습니다. 한 번만 기록합니다.",
    },
    "cli.demo.crossed_restrict": {
        "en": "{percent} % is spent. From here on only essential calls pass.",
        "ko": "예산의 {percent} %를 썼습니다. 이제 필수 호출만 통과합니다.",
    },
    "cli.demo.crossed_stop": {
        "en": "{percent} % is spent. From here on nothing that costs money passes.",
        "ko": "예산을 {percent} % 썼습니다. 이제 돈이 드는 호출은 모두 멈춥니다.",
    },
    "cli.demo.restricted": {
        "en": "Above 95 %: the team can still text.",
        "ko": "95 % 이후: 문자는 아직 보낼 수 있습니다.",
    },
    "cli.demo.stopped": {"en": "At 100 %: it stops here.", "ko": "100 %: 여기서 멈춥니다."},
    "cli.demo.failing": {
        "en": "And when an API fails, or is called too often (free calls, so money does not matter):",
        "ko": "API가 실패하거나 너무 자주 호출되면 (무료 호출이므로 예산과는 무관합니다):",
    },
    "cli.demo.half_open": {
        "en": "Then it is half-open: one call may try whether it works again.",
        "ko": "그다음은 반열림 상태입니다. 호출 한 건으로 회복을 시험합니다.",
    },
    "cli.demo.label.fails": {"en": "news: the API fails", "ko": "뉴스: API 오류"},
    "cli.demo.label.circuit": {"en": "news: the circuit is open", "ko": "뉴스: 회로 열림"},
    "cli.demo.label.probe": {
        "en": "news: the probe succeeds, and the circuit closes",
        "ko": "뉴스: 시험 성공, 회로 닫힘",
    },
    "cli.demo.label.news": {"en": "news", "ko": "뉴스"},
    "cli.demo.label.too_often": {"en": "news: the sixth call within a minute", "ko": "뉴스: 1분 안의 여섯 번째 호출"},
    "cli.demo.sum.title": {"en": "That was the whole budget.", "ko": "예산을 모두 썼습니다."},
    "cli.demo.sum.spent": {"en": "Spent, by the ledger", "ko": "원장에 적힌 지출"},
    "cli.demo.sum.billed": {"en": "Billed, by the APIs", "ko": "API가 청구한 금액"},
    "cli.demo.sum.crossed": {"en": "Thresholds crossed", "ko": "넘어선 기준"},
    "cli.demo.sum.refused": {"en": "Refused", "ko": "거절"},
    "cli.demo.sum.refusals": {"en": "{refused} of {calls} calls", "ko": "호출 {calls}건 중 {refused}건"},
    "cli.demo.sum.next": {
        "en": "Now yours: spendgate init writes a rules.yaml, spendgate serve starts the proxy.",
        "ko": "이제 직접 써 보세요. spendgate init으로 rules.yaml을 만들고 spendgate serve로 시작합니다.",
    },
    "cli.demo.dashboard": {
        "en": "The dashboard of a team with a month and a half behind it, and calls that go on:",
        "ko": "한 달 반 동안 사용한 팀의 대시보드입니다. 호출은 계속됩니다:",
    },
    "cli.demo.dashboard_ends": {
        "en": "Ctrl-C ends it and leaves nothing behind.",
        "ko": "Ctrl-C를 누르면 흔적 없이 끝납니다.",
    },
    "cli.demo.failed": {
        "en": "the demonstration went off its plot: {what}.",
        "ko": "시연이 예정과 다르게 진행되었습니다: {what}.",
    },
}
