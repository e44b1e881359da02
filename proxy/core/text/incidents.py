"""Incidents: what is wrong, how bad it is, and what can be done about it."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    # --- how bad ---
    "incident.level.low": {"en": "low", "ko": "낮음"},
    "incident.level.medium": {"en": "medium", "ko": "보통"},
    "incident.level.high": {"en": "high", "ko": "높음"},
    "incident.level.critical": {"en": "critical", "ko": "심각"},
    # --- what is wrong, in a line and in a sentence ---
    "incident.burn.title": {
        "en": "{budget}: money goes {times} times as fast as its limit bears",
        "ko": "{budget}: 한도가 견딜 수 있는 속도의 {times}배로 쓰고 있습니다",
    },
    "incident.burn.what": {
        "en": "In the last {hours} h the budget {budget} spent {burnt} of its limit of {limit}. What is left: {left}.",
        "ko": "예산 {budget}의 지난 {hours}시간 지출은 한도 {limit} 가운데 {burnt}입니다. 남은 금액은 {left}입니다.",
    },
    "incident.burn.empty": {
        "en": "At this pace nothing is left at {empty_at}.",
        "ko": "이 속도라면 {empty_at}에 남는 돈이 없습니다.",
    },
    "incident.anomaly.title": {
        "en": "{sort} {who}: {spent} in this hour, usually about {usual}",
        "ko": "{sort} {who}: 이 시간에 {spent}, 보통은 {usual} 정도입니다",
    },
    "incident.anomaly.what": {
        "en": "The {sort} {who} has spent {spent} in the hour that began at {hour}. Hardly ever is it more than {upper}.",
        "ko": "{hour}부터 한 시간 동안 {sort} {who}의 지출은 {spent}입니다. {upper}보다 많은 일은 거의 없습니다.",
    },
    "incident.errors.title": {
        "en": "{api}: {percent} % of its calls fail",
        "ko": "{api}: 호출의 {percent} %가 실패합니다",
    },
    "incident.errors.what": {
        "en": "In the last {minutes} min {failed} of {calls} calls to {api} failed, which is {percent} %. Usually it is about "
        "{usual_percent} %. Failed calls may cost money too.",
        "ko": "지난 {minutes}분 동안 {api} 호출 {calls}건 가운데 {failed}건({percent} %)이 실패했습니다. 평소에는 {usual_percent} % "
        "정도입니다. 실패한 호출에도 비용이 들 수 있습니다.",
    },
    "incident.runaway.title": {
        "en": "Caller {caller}: {took} in {minutes} min, {times} times too fast",
        "ko": "호출자 {caller}: {minutes}분에 {took}, 견딜 수 있는 속도의 {times}배입니다",
    },
    "incident.runaway.what": {
        "en": "The caller {caller} took {took} of the budget {budget} in {minutes} min, {share} % of everything that was spent. "
        "At this pace the {left} that are left are gone in {empty_in}.",
        "ko": "지난 {minutes}분 동안 호출자 {caller}의 예산 {budget} 지출은 {took}으로, 전체 지출의 {share} %입니다. 이 속도라면 "
        "남은 금액({left})은 {empty_in} 안에 없어집니다.",
    },
    "incident.span.seconds": {"en": "{seconds} s", "ko": "{seconds}초"},
    "incident.span.minutes": {"en": "{minutes} min", "ko": "{minutes}분"},
    "incident.span.hours": {"en": "{hours} h", "ko": "{hours}시간"},
    "incident.span.days": {"en": "{days} days", "ko": "{days}일"},
    "incident.store.slow.title": {"en": "Redis is slow: {ms} ms an answer", "ko": "Redis가 느립니다: 응답에 {ms} ms"},
    "incident.store.slow.what": {
        "en": "Even the fastest of its last answers took {ms} ms. Every paid call waits for it.",
        "ko": "최근 응답 가운데 가장 빠른 것도 {ms} ms 걸렸습니다. 비용이 드는 모든 호출이 이만큼 기다립니다.",
    },
    "incident.store.away.title": {
        "en": "Redis was away: {refused} calls refused",
        "ko": "Redis에 연결할 수 없어 호출 {refused}건을 거절했습니다",
    },
    "incident.store.away.what": {
        "en": "In the last {minutes} min {refused} calls were refused because Redis did not answer. Settlements that proxies "
        "still have to write: {waiting}.",
        "ko": "Redis가 응답하지 않아 지난 {minutes}분 동안 호출 {refused}건을 거절했습니다. 프록시가 아직 기록하지 못한 정산은 "
        "{waiting}건입니다.",
    },
    "incident.store.away_for.title": {
        "en": "Redis was away for {lasted}: {refused} calls refused",
        "ko": "{lasted} 동안 Redis에 연결할 수 없어 호출 {refused}건을 거절했습니다",
    },
    "incident.store.away_for.what": {
        "en": "Redis did not answer for {lasted}. In the last {minutes} min {refused} calls were refused because of that. "
        "Settlements that proxies still have to write: {waiting}.",
        "ko": "{lasted} 동안 Redis가 응답하지 않았습니다. 이 때문에 지난 {minutes}분 동안 호출 {refused}건을 거절했습니다. 프록시가 "
        "아직 기록하지 못한 정산은 {waiting}건입니다.",
    },
    "incident.store.memory.title": {
        "en": "Redis has used {percent} % of its memory",
        "ko": "Redis가 메모리의 {percent} %를 썼습니다",
    },
    "incident.store.memory.what": {
        "en": "Redis has used {percent} % of its maxmemory. When it is full, paid calls are refused, because nothing can be "
        "counted any more.",
        "ko": "Redis가 maxmemory의 {percent} %를 썼습니다. 가득 차면 아무것도 셀 수 없으므로 비용이 드는 호출을 거절합니다.",
    },
    "incident.store.evicts.title": {
        "en": "Redis may drop counters: {policy}",
        "ko": "Redis가 카운터를 버릴 수 있습니다: {policy}",
    },
    "incident.store.evicts.what": {
        "en": "Redis has a memory limit and the policy {policy}, so it may drop counters to make room. Set maxmemory-policy to "
        "noeviction.",
        "ko": "Redis에 메모리 한도가 있고 정책이 {policy}이어서 자리를 만들려고 카운터를 버릴 수 있습니다. maxmemory-policy를 "
        "noeviction으로 바꾸세요.",
    },
    "incident.store.saving.title": {
        "en": "Redis cannot save what it counts",
        "ko": "Redis가 센 것을 저장하지 못합니다",
    },
    "incident.store.saving.what": {
        "en": "Redis reports a failure of {failing}. If it stops now, what was counted since the last save is lost. Look at the "
        "disk and at its log.",
        "ko": "Redis가 {failing} 실패를 알렸습니다. 지금 멈추면 마지막 저장 뒤에 센 것을 잃습니다. 디스크와 Redis 로그를 "
        "확인하세요.",
    },
    "incident.was": {"en": "It was {level} at its worst.", "ko": "가장 심할 때는 ‘{level}’이었습니다."},
    # --- what can be done, and what was ---
    "incident.action.block_caller": {"en": "Block {target}", "ko": "{target} 차단"},
    "incident.action.block_api": {"en": "Block {target}", "ko": "{target} 차단"},
    "incident.action.stop_services": {"en": "Stop optional services ({target})", "ko": "선택 서비스 중지 ({target})"},
    "incident.action.stop_all": {
        "en": "Stop everything that costs money",
        "ko": "비용이 드는 호출을 모두 멈춤",
    },
    "incident.target.caller": {"en": "the caller {name}", "ko": "호출자 {name}"},
    "incident.target.api": {"en": "the API {name}", "ko": "API {name}"},
    "incident.action_until": {"en": "{action} until {until}", "ko": "{until}까지 {action}"},
    "incident.taken.block_caller": {"en": "{target} is blocked", "ko": "{target} 차단됨"},
    "incident.taken.block_api": {"en": "{target} is blocked", "ko": "{target} 차단됨"},
    "incident.taken.stop_services": {"en": "{target} is stopped", "ko": "{target} 중지됨"},
    "incident.taken.stop_all": {
        "en": "everything that costs money is stopped",
        "ko": "비용이 드는 호출을 모두 멈춤",
    },
    "incident.taken_by": {
        "en": "{what} until {until}, by {by} (entry {entry})",
        "ko": "{until}까지 {what}, {by} (기록 {entry}번)",
    },
    "incident.taken_alone": {
        "en": "{what} until {until}, automatically (entry {entry})",
        "ko": "{until}까지 {what}, 자동 (기록 {entry}번)",
    },
    "incident.reason": {"en": "incident {id}: {title}", "ko": "사고 {id}: {title}"},
    "incident.calm": {
        "en": "Its cause has been gone for {minutes} min.",
        "ko": "원인이 {minutes}분 동안 나타나지 않았습니다.",
    },
    "incident.seen": {"en": "seen", "ko": "확인함"},
    # --- in alerts ---
    "alert.incident.title": {"en": "Incident ({level}): {title}", "ko": "사고({level}): {title}"},
    "alert.incident.done": {"en": "Done about it: {done}.", "ko": "조치: {done}."},
    "alert.next.incident": {
        "en": "Nothing is refused because of this unless somebody decides so.",
        "ko": "누군가 결정하지 않는 한 이 때문에 거절하는 호출은 없습니다.",
    },
    "alert.next.incident_done": {
        "en": "That ends by itself. spendgate emergency undo NUMBER takes it back at once.",
        "ko": "이 조치는 저절로 끝납니다. 바로 되돌리려면: spendgate emergency undo 번호.",
    },
    "alert.do.incident": {
        "en": "See it and what can be done: spendgate emergency incident show {incident}.",
        "ko": "자세한 내용과 할 수 있는 조치: spendgate emergency incident show {incident}.",
    },
    "alert.do.incident_propose": {
        "en": "Proposed: {proposed}. One command does it: spendgate emergency incident apply {incident}.",
        "ko": "제안: {proposed}. 명령 하나로 실행합니다: spendgate emergency incident apply {incident}.",
    },
    # --- what cannot be done ---
    "switches.no_incident": {"en": "There is no incident {id}.", "ko": "{id} 사고는 없습니다."},
    "switches.incident_over": {
        "en": "The incident {id} is over already; {by} resolved it.",
        "ko": "사고 {id}은(는) 이미 끝났습니다. {by}이(가) 해결로 처리했습니다.",
    },
    "switches.held_already": {
        "en": "{target} is stopped already, and for longer.",
        "ko": "{target}은(는) 이미 더 오래 멈추도록 되어 있습니다.",
    },
    "switches.not_proposed": {
        "en": "“{action}” is not proposed for the incident {id}. Proposed: {known}.",
        "ko": "사고 {id}에 ‘{action}’은(는) 제안되지 않았습니다. 제안: {known}.",
    },
    "switches.nothing_proposed": {
        "en": "Nothing is proposed for the incident {id}.",
        "ko": "사고 {id}에 제안된 조치가 없습니다.",
    },
    "switches.which_action": {
        "en": "Several actions are proposed for the incident {id}. Name one: {known}.",
        "ko": "사고 {id}에 제안된 조치가 여럿입니다. 하나를 고르세요: {known}.",
    },
    # --- the command line ---
    "cli.emergency.usage.incidents": {
        "en": "spendgate emergency incidents [--all], with nothing else behind it",
        "ko": "spendgate emergency incidents [--all] (뒤에 다른 것을 붙이지 않음)",
    },
    "cli.emergency.usage.incident": {
        "en": "spendgate emergency incident show|acknowledge|resolve|apply ID [--note TEXT]; apply ID [ACTION]",
        "ko": "spendgate emergency incident show|acknowledge|resolve|apply ID [--note 글]; apply ID [조치]",
    },
    "cli.opt.note": {
        "en": "What you found: kept with the incident.",
        "ko": "알아낸 것. 사고 기록에 남습니다.",
    },
    "cli.opt.all_incidents": {"en": "With those that are over.", "ko": "끝난 것까지 모두."},
    "cli.incident.none": {"en": "No incident is open.", "ko": "열린 사고가 없습니다."},
    "cli.incident.open_now": {
        "en": "Open incidents: {count}. See them: spendgate emergency incidents",
        "ko": "열린 사고: {count}건. 보기: spendgate emergency incidents",
    },
    "cli.incident.never": {"en": "There was never an incident.", "ko": "사고가 난 적이 없습니다."},
    "cli.incident.column.id": {"en": "ID", "ko": "ID"},
    "cli.incident.column.level": {"en": "LEVEL", "ko": "수준"},
    "cli.incident.column.since": {"en": "SINCE", "ko": "시작"},
    "cli.incident.column.state": {"en": "STATE", "ko": "상태"},
    "cli.incident.column.what": {"en": "WHAT", "ko": "내용"},
    "cli.incident.state.open": {"en": "open", "ko": "열림"},
    "cli.incident.state.seen": {"en": "seen by {name}", "ko": "{name} 확인"},
    "cli.incident.state.resolved": {"en": "over", "ko": "끝남"},
    "cli.incident.head": {"en": "Incident {id} ({level}), {state}", "ko": "사고 {id} ({level}), {state}"},
    "cli.incident.began": {"en": "Began: {at}", "ko": "시작: {at}"},
    "cli.incident.ended": {"en": "Over: {at}, by {by}", "ko": "끝: {at}, {by}"},
    "cli.incident.gone": {
        "en": "Its cause is gone since {at}; it ends by itself if that stays so.",
        "ko": "{at}부터 원인이 나타나지 않습니다. 계속 그러면 저절로 끝납니다.",
    },
    "cli.incident.seen": {"en": "Seen: {at}, by {by}", "ko": "확인: {at}, {by}"},
    "cli.incident.alert": {"en": "Alert: {id}", "ko": "알림: {id}"},
    "cli.incident.taken": {"en": "Done: {what}", "ko": "조치: {what}"},
    "cli.incident.ended_early": {"en": "(holds no more)", "ko": "(지금은 적용되지 않음)"},
    "cli.incident.note": {"en": "{at} {by}: {text}", "ko": "{at} {by}: {text}"},
    "cli.incident.proposed": {
        "en": "Proposed: {what}. Do it: spendgate emergency incident apply {id} {action}",
        "ko": "제안: {what}. 실행: spendgate emergency incident apply {id} {action}",
    },
    "cli.incident.acknowledged": {
        "en": "Incident {id} is noted as seen.",
        "ko": "사고 {id}을(를) 확인한 것으로 적었습니다.",
    },
    "cli.incident.resolved": {"en": "Incident {id} is resolved.", "ko": "사고 {id}을(를) 해결로 처리했습니다."},
    "cli.incident.still_held": {
        "en": "What was done about it holds until it ends: {what}.",
        "ko": "이미 한 조치는 끝날 때까지 그대로입니다: {what}.",
    },
    # --- check ---
    "rules.action_lasts": {
        "en": "An action lasts between a minute and a day.",
        "ko": "조치는 1분 이상 하루 이하로 정합니다.",
    },
    "rules.hint.action_lasts": {"en": "Write it like 30m or 2h.", "ko": "30m, 2h처럼 쓰세요."},
    "rules.unknown_spared": {
        "en": "“{got}” names no API and no caller.",
        "ko": "‘{got}’에 해당하는 API나 호출자가 없습니다.",
    },
    "rules.no_optional_services": {
        "en": "There is no optional service, so that stop_services will never do anything.",
        "ko": "선택(optional) 서비스가 없으므로 stop_services로 멈출 것이 없습니다.",
    },
    "rules.one_caller_only": {
        "en": "No callers are declared, so that block_caller would block everybody (caller:anonymous).",
        "ko": "선언된 호출자가 없으므로 block_caller는 모두(caller:anonymous)를 차단하게 됩니다.",
    },
    "cli.check.automatic": {
        "en": "Done without asking about incidents, from {level} on: {actions}. It ends by itself after {minutes} min.",
        "ko": "사고가 나면 묻지 않고 하는 조치({level} 이상): {actions}. {minutes}분 뒤에 저절로 끝납니다.",
    },
    "cli.check.automatic_spared": {
        "en": "Never blocked without a person: {spare}.",
        "ko": "사람 없이는 차단하지 않는 것: {spare}.",
    },
    # --- while Redis is away, told without it ---
    "absence.title": {
        "en": "Redis is away: paid calls are refused",
        "ko": "Redis에 연결할 수 없어 비용이 드는 호출을 거절하고 있습니다",
    },
    "absence.what": {
        "en": "Redis has not answered since {since}, so nothing can be counted.",
        "ko": "{since}부터 Redis가 응답하지 않아 아무것도 셀 수 없습니다.",
    },
    "absence.next": {
        "en": "Until it is back, calls that cost money are refused. The proxies keep what calls under way have cost, and write it "
        "down then.",
        "ko": "다시 연결될 때까지 비용이 드는 호출을 거절합니다. 진행 중이던 호출의 정산은 프록시가 가지고 있다가 그때 기록합니다.",
    },
    "absence.do": {
        "en": "Look at Redis and at the network to it; `spendgate doctor` says what it finds. When Redis is back, an incident says "
        "how long it took and how many calls were refused.",
        "ko": "Redis와 Redis까지의 네트워크를 확인하세요. `spendgate doctor`가 찾은 문제를 알려 줍니다. Redis가 돌아오면 얼마나 걸렸고 "
        "호출 몇 건을 거절했는지 사고 기록으로 알려 드립니다.",
    },
}
