"""What alerts say: what happened, how much is left, what will be refused next, and what to do."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    # --- what happened, in a line and in a sentence ---
    "alert.threshold.title": {
        "en": "{budget}: {percent} % of {limit} is spent",
        "ko": "{budget}: 예산 {limit}의 {percent} %를 썼습니다",
    },
    "alert.threshold.what": {
        "en": "The budget {budget} has reached {percent} % of its limit for {period}: {spent} of {limit} is spent.",
        "ko": "예산 {budget}이(가) {period} 한도의 {percent} %에 이르렀습니다. 한도 {limit} 중 사용액은 {spent}입니다.",
    },
    "alert.forecast.title": {
        "en": "{budget}: will probably end {over} above its limit",
        "ko": "{budget}: 한도를 {over} 넘길 것으로 보입니다",
    },
    "alert.forecast.what": {
        "en": "If it goes on like this, the budget {budget} will have cost {expected} at the end of {period}, which is {over} "
        "above its limit of {limit}. This comes from {made_by}.",
        "ko": "이대로 가면 예산 {budget}의 {period} 예상 비용은 {expected}으로, 한도 {limit}보다 {over} 많습니다. {made_by}에 따른 "
        "값입니다.",
    },
    "alert.forecast.interval": {
        "en": "With 80 % probability it ends between {low} and {high}.",
        "ko": "80 % 확률로 {low}에서 {high} 사이에서 끝납니다.",
    },
    "alert.burn.title": {
        "en": "{budget}: money goes {times} times as fast as its limit bears",
        "ko": "{budget}: 한도가 견딜 수 있는 속도의 {times}배로 쓰고 있습니다",
    },
    "alert.burn.what": {
        "en": "In the last {hours} h the budget {budget} spent {burnt}, which is {times} times what its limit of {limit} bears "
        "over the period, and it goes on.",
        "ko": "예산 {budget}의 지난 {hours}시간 지출은 {burnt}입니다. 한도 {limit}이 기간 내내 견딜 수 있는 속도의 "
        "{times}배이고, 지금도 계속되고 있습니다.",
    },
    "alert.burn.empty": {
        "en": "At this pace nothing is left at {empty_at}.",
        "ko": "이 속도라면 {empty_at}에 남는 돈이 없습니다.",
    },
    "alert.anomaly.title": {
        "en": "{sort} {who}: {spent} in this hour, usually about {usual}",
        "ko": "{sort} {who}: 이 시간에 {spent}, 보통은 {usual} 정도입니다",
    },
    "alert.anomaly.what": {
        "en": "The {sort} {who} has spent {spent} in the hour that began at {hour}. Usually it spends about {usual} in such an "
        "hour, and hardly ever more than {upper} ({basis}).",
        "ko": "{hour}부터 한 시간 동안 {sort} {who}의 지출은 {spent}입니다. 보통 이런 시간에는 {usual} 정도이고 {upper}보다 많은 "
        "일이 거의 없습니다 ({basis}).",
    },
    "alert.breaker.title": {"en": "{api}: the circuit is open", "ko": "{api}: 회로가 열렸습니다"},
    "alert.breaker.what": {
        "en": "Too many calls to {api} failed, so its circuit is open.",
        "ko": "{api} 호출이 너무 많이 실패해서 회로가 열렸습니다.",
    },
    "alert.unpriced.title": {
        "en": "{api}: calls without a price count as 0",
        "ko": "{api}: 가격 없는 호출을 0으로 세고 있습니다",
    },
    "alert.unpriced.what": {
        "en": "Calls to {api} on {day} that have no price: {unpriced} of {calls}. What they cost is missing from every budget.",
        "ko": "{day} {api} 호출 {calls}건 가운데 {unpriced}건에 가격이 없습니다. 그 비용은 어느 예산에도 들어 있지 않습니다.",
    },
    "alert.usage_missing.title": {
        "en": "{api}: answers come without usage",
        "ko": "{api}: 응답에 사용량이 없습니다",
    },
    "alert.usage_missing.what": {
        "en": "Answers of {api} on {day} without usage: {missing} of {calls}. Their estimates were charged, which is more than "
        "they really cost.",
        "ko": "{day} {api} 응답 {calls}건 가운데 {missing}건에 사용량이 없습니다. 추정액으로 청구했으므로 실제보다 많습니다.",
    },
    "alert.proxy_silent.title": {"en": "The proxy on {host} is silent", "ko": "{host}의 프록시가 응답이 없습니다"},
    "alert.proxy_silent.what": {
        "en": "The proxy on {host} (pid {pid}, {listen}) vanished without having been stopped; its last sign of life was at "
        "{last}.",
        "ko": "{host}의 프록시(pid {pid}, {listen})가 종료 절차 없이 사라졌습니다. 마지막 신호는 {last}였습니다.",
    },
    "alert.service_failed.title": {
        "en": "{service}: could not be {wanted}",
        "ko": "{service}: {wanted} 실패",
    },
    "alert.service_failed.what": {
        "en": "The service {service} could not be {wanted}: {error}.",
        "ko": "서비스 {service}의 {wanted}에 실패했습니다: {error}.",
    },
    "alert.test.title": {"en": "This is a test", "ko": "시험 알림입니다"},
    "alert.test.what": {
        "en": "This message tests the channel {channel}. Nothing has happened.",
        "ko": "{channel} 채널을 시험하는 메시지입니다. 아무 일도 일어나지 않았습니다.",
    },
    # --- how much is left, and what will be refused next ---
    "alert.left": {
        "en": "Left: {left} until {resets_at}.",
        "ko": "{resets_at}까지 {left} 남았습니다.",
    },
    "alert.next.restrict": {
        "en": "After another {next_after} ({next_percent} %) only essential calls pass.",
        "ko": "앞으로 {next_after} 더 쓰면({next_percent} %) 필수 호출만 통과합니다.",
    },
    "alert.next.stop": {
        "en": "Calls that are not essential are refused now; after another {next_after} ({next_percent} %) nothing that costs "
        "money passes.",
        "ko": "지금은 필수가 아닌 호출을 거절하고, 앞으로 {next_after} 더 쓰면({next_percent} %) 비용이 드는 호출은 모두 거절합니다.",
    },
    "alert.next.stop_only": {
        "en": "After another {next_after} ({next_percent} %) nothing that costs money passes.",
        "ko": "앞으로 {next_after} 더 쓰면({next_percent} %) 비용이 드는 호출은 모두 거절합니다.",
    },
    "alert.next.none": {
        "en": "Everything that costs money is refused until {resets_at}; calls that cost nothing still pass.",
        "ko": "{resets_at}까지 비용이 드는 호출을 모두 거절합니다. 무료 호출은 그대로 통과합니다.",
    },
    "alert.next.at": {
        "en": "That will probably be at {next_at}.",
        "ko": "{next_at}쯤으로 보입니다.",
    },
    "alert.next.breaker": {
        "en": "Calls to it are refused with circuit_open until a probe succeeds, the first one at {until}.",
        "ko": "시험 호출이 성공할 때까지 circuit_open으로 거절하며, 첫 시험은 {until}입니다.",
    },
    "alert.next.breaker_by_hand": {
        "en": "Calls to it are refused with circuit_open until somebody closes it.",
        "ko": "누군가 회로를 닫을 때까지 circuit_open으로 거절합니다.",
    },
    "alert.next.proxy_silent": {
        "en": "Programs that go through it get no answer; what it held is charged at its estimate within a minute.",
        "ko": "이 프록시를 거치는 프로그램은 응답을 받지 못합니다. 잡아 둔 금액은 1분 안에 추정액으로 청구합니다.",
    },
    "alert.next.nothing": {
        "en": "Nothing is refused because of this.",
        "ko": "이 때문에 거절하는 호출은 없습니다.",
    },
    # --- what to do ---
    "alert.do.threshold.warn": {
        "en": "See who spends: spendgate ledger --last 20.",
        "ko": "어디에 쓰는지 보세요: spendgate ledger --last 20.",
    },
    "alert.do.threshold.restrict": {
        "en": "If these calls must go on, increase this period's limit: spendgate emergency increase {budget} AMOUNT.",
        "ko": "계속 호출해야 하면 이번 기간의 한도를 올리세요: spendgate emergency increase {budget} 금액.",
    },
    "alert.do.threshold.stop": {
        "en": "Increase this period's limit (spendgate emergency increase {budget} AMOUNT), or wait for the reset.",
        "ko": "이번 기간의 한도를 올리거나(spendgate emergency increase {budget} 금액) 초기화될 때까지 기다리세요.",
    },
    "alert.do.forecast": {
        "en": "Look at what grows with spendgate status, and spend less or raise the limit in time.",
        "ko": "spendgate status로 무엇이 늘었는지 보고, 씀씀이를 줄이거나 한도를 미리 올리세요.",
    },
    "alert.do.burn": {
        "en": "Find the program that does it: spendgate ledger --last 20. Restarting loops and retries are the usual cause.",
        "ko": "원인 프로그램을 찾으세요: spendgate ledger --last 20. 보통은 반복 실행이나 재시도가 원인입니다.",
    },
    "alert.do.anomaly": {
        "en": "Look at its last calls with spendgate ledger --last 20, and at what was changed lately.",
        "ko": "spendgate ledger --last 20으로 최근 호출과 최근에 바꾼 것을 살펴보세요.",
    },
    "alert.do.breaker": {
        "en": "Look at the provider's status page; nothing needs to be done here when it recovers.",
        "ko": "제공자의 상태 페이지를 확인하세요. 복구되면 여기서 할 일은 없습니다.",
    },
    "alert.do.unpriced": {
        "en": "Give the calls a price in rules.yaml; spendgate price shows which rule a call finds.",
        "ko": "rules.yaml에 가격을 넣으세요. 어떤 규칙이 맞는지는 spendgate price로 볼 수 있습니다.",
    },
    "alert.do.usage_missing": {
        "en": "For streams let the program ask for usage (stream_options: {{include_usage: true}} for OpenAI).",
        "ko": "스트림이면 프로그램이 사용량을 요청하게 하세요 (OpenAI는 stream_options: {{include_usage: true}}).",
    },
    "alert.do.proxy_silent": {
        "en": "Start it again, and look at its log and at the memory of its machine.",
        "ko": "다시 시작하고, 로그와 그 서버의 메모리를 확인하세요.",
    },
    "alert.do.service_failed": {
        "en": "It is tried again by itself. If it stays like this, do it by hand and look at the service's own log.",
        "ko": "자동으로 다시 시도합니다. 계속 실패하면 직접 처리하고 서비스의 로그를 확인하세요.",
    },
    "alert.do.test": {"en": "Nothing needs to be done.", "ko": "할 일은 없습니다."},
    # --- words inside the sentences ---
    "alert.sort.api": {"en": "API", "ko": "API"},
    "alert.sort.caller": {"en": "caller", "ko": "호출자"},
    "alert.basis.week": {
        "en": "by the same hour of the last weeks",
        "ko": "지난 몇 주의 같은 요일 같은 시간 기준",
    },
    "alert.basis.day": {"en": "by the same hour of the last days", "ko": "지난 며칠의 같은 시간 기준"},
    "alert.made_by.daily_average": {"en": "the average of the days so far", "ko": "지금까지의 하루 평균"},
    "alert.made_by.pace": {"en": "the pace so far", "ko": "지금까지의 속도"},
    "alert.made_by.other": {"en": "the forecast ({name})", "ko": "예측 모델({name})"},
    "alert.wanted.stopped": {"en": "stopped", "ko": "중지"},
    "alert.wanted.running": {"en": "started", "ko": "시작"},
    # --- resolved and gathered ---
    "alert.resolved.title": {"en": "Over: {title}", "ko": "해결됨: {title}"},
    "alert.resolved.what": {
        "en": "This is over since {resolved_at}. It had begun at {raised_at}.",
        "ko": "{raised_at}에 시작했고 {resolved_at}에 끝났습니다.",
    },
    "alert.gathered.title": {
        "en": "{count} alerts, the most serious: {title}",
        "ko": "알림 {count}건, 가장 중요한 것: {title}",
    },
    "alert.reference": {
        "en": "Seen it? spendgate alerts ack {id}",
        "ko": "확인했으면: spendgate alerts ack {id}",
    },
    "alert.severity.info": {"en": "info", "ko": "정보"},
    "alert.severity.warning": {"en": "warning", "ko": "주의"},
    "alert.severity.critical": {"en": "critical", "ko": "긴급"},
}
