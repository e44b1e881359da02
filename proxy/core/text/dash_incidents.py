"""Incidents in the dashboard."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "dash.incidents": {"en": "Incidents", "ko": "사고"},
    "dash.incidents_open": {"en": "Open incidents", "ko": "열린 사고"},
    "dash.incidents_all": {"en": "All incidents", "ko": "사고 전체"},
    "dash.incident.notice": {
        "en": "Open incidents: {count}. The worst ({level}): {title}",
        "ko": "열린 사고 {count}건, 가장 심한 것({level}): {title}",
    },
    "dash.no_incident": {
        "en": "Nothing is wrong: no incident is open.",
        "ko": "이상이 없습니다. 열린 사고가 없습니다.",
    },
    "dash.no_incidents": {"en": "There was no incident yet.", "ko": "아직 사고가 없었습니다."},
    "dash.no_such_incident": {"en": "No such incident.", "ko": "조건에 맞는 사고가 없습니다."},
    "dash.incident.level": {"en": "level {level}", "ko": "수준 {level}"},
    "dash.incident.level_label": {"en": "Level", "ko": "수준"},
    "dash.incident.open": {"en": "open", "ko": "진행 중"},
    "dash.incident.gone": {"en": "calming down", "ko": "잦아드는 중"},
    "dash.incident.resolved": {"en": "over", "ko": "끝남"},
    "dash.incident.over_by": {"en": "over {time}, {name}", "ko": "{time} 끝남, {name}"},
    "dash.incident.ended": {"en": "holds no more", "ko": "지금은 적용되지 않음"},
    "dash.incident.seen_label": {"en": "Looked after", "ko": "확인 여부"},
    "dash.incident.seen_yes": {"en": "seen", "ko": "확인함"},
    "dash.incident.seen_no": {"en": "nobody yet", "ko": "아직 없음"},
    "dash.incident.handle": {"en": "Deal with it", "ko": "조치하기"},
    "dash.incident.usual_span": {"en": "{span} (as the rules say)", "ko": "{span} (규칙대로)"},
    "dash.incident.confirm": {"en": "Confirm: {what}", "ko": "실행: {what}"},
    "dash.incident.note_or_resolve": {"en": "Add a note or resolve", "ko": "메모·해결"},
    "dash.incident.note": {"en": "What you found", "ko": "알아낸 것"},
    "dash.incident.only_note": {"en": "Only note it", "ko": "메모만 남기기"},
    "dash.incident.resolve": {"en": "It is over", "ko": "해결로 처리"},
    "dash.incident.resolved_now": {"en": "Resolved: {title}", "ko": "해결로 처리했습니다: {title}"},
    "dash.incident.offer_help.block_caller": {
        "en": "Every call of this caller is refused from the next request on. It ends by itself and can be undone at once.",
        "ko": "다음 요청부터 이 호출자의 호출을 모두 거절합니다. 저절로 끝나며 바로 되돌릴 수 있습니다.",
    },
    "dash.incident.offer_help.block_api": {
        "en": "Every call to this API is refused from the next request on. It ends by itself and can be undone at once.",
        "ko": "다음 요청부터 이 API의 호출을 모두 거절합니다. 저절로 끝나며 바로 되돌릴 수 있습니다.",
    },
    "dash.incident.offer_help.stop_services": {
        "en": "Optional services are stopped within seconds and come back by themselves when the time is over.",
        "ko": "선택 서비스를 몇 초 안에 멈춥니다. 시간이 지나면 저절로 다시 시작합니다.",
    },
    "dash.incident.offer_help.stop_all": {
        "en": "Everything that costs money is refused from the next request on. Calls that cost nothing still pass.",
        "ko": "다음 요청부터 비용이 드는 호출을 모두 거절합니다. 무료 호출은 그대로 통과합니다.",
    },
    "dash.for.10m": {"en": "10 minutes", "ko": "10분"},
}
