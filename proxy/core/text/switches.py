"""What cannot be done by hand at this moment, and why."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "switches.no_reason": {
        "en": "Give a reason: it stands in the audit trail.",
        "ko": "사유를 적어 주세요. 감사 기록에 남습니다.",
    },
    "switches.needs_until": {
        "en": "Say when it ends: for example 2h, 18:00 or 2026-12-01.",
        "ko": "언제 끝날지 정해 주세요. 예: 2h, 18:00, 2026-12-01.",
    },
    "switches.bad_until": {
        "en": "“{until}” is not a moment within a year from now. Write 30m, 2h, 18:00 or 2026-12-01T09:00.",
        "ko": "‘{until}’은(는) 앞으로 1년 안의 시각이 아닙니다. 30m, 2h, 18:00, 2026-12-01T09:00처럼 써 주세요.",
    },
    "switches.past": {"en": "{until} has passed already.", "ko": "{until}은(는) 이미 지났습니다."},
    "switches.too_long": {
        "en": "A bypass lasts {days} days at most. Choose an earlier end.",
        "ko": "우회는 최대 {days}일까지입니다. 더 이른 시각을 고르세요.",
    },
    "switches.bad_target": {
        "en": "“{target}” cannot be switched here. Write one of: {kinds}.",
        "ko": "‘{target}’에는 쓸 수 없습니다. 다음 중 하나로 써 주세요: {kinds}.",
    },
    "switches.no_target": {
        "en": "rules.yaml has no “{target}”. There are: {known}.",
        "ko": "rules.yaml에 ‘{target}’이(가) 없습니다. 있는 것: {known}.",
    },
    "switches.bad_amount": {
        "en": "“{amount}” is not an amount. Write a plain number such as 5000.",
        "ko": "‘{amount}’은(는) 금액이 아닙니다. 5000처럼 숫자로 써 주세요.",
    },
    "switches.not_more": {"en": "An increase adds more than nothing.", "ko": "증액은 0보다 커야 합니다."},
    "switches.too_much": {
        "en": "The limit would pass {most}, up to which amounts are counted exactly.",
        "ko": "한도가 정확히 셀 수 있는 최댓값 {most}을(를) 넘게 됩니다.",
    },
    "switches.nothing_asked": {
        "en": "Entry {number} asks for no approval.",
        "ko": "{number}번 기록은 승인을 기다리지 않습니다.",
    },
    "switches.same_person": {
        "en": "{by} asked for it; somebody else must approve.",
        "ko": "{by}이(가) 요청했으므로 다른 사람이 승인해야 합니다.",
    },
    "switches.too_late": {
        "en": "Entry {number} is too old to approve: ask again.",
        "ko": "{number}번 요청은 기한이 지났습니다. 다시 요청해 주세요.",
    },
    "switches.answered_already": {
        "en": "Entry {by} has answered it already.",
        "ko": "이미 {by}번 기록으로 처리되었습니다.",
    },
    "switches.no_entry": {"en": "The audit trail has no entry {number}.", "ko": "감사 기록에 {number}번이 없습니다."},
    "switches.not_undoable": {
        "en": "Entry {number} ({action}) has nothing to undo.",
        "ko": "{number}번 기록({action})에는 되돌릴 것이 없습니다.",
    },
    "switches.undone_already": {
        "en": "Entry {number} was undone already, by entry {by}.",
        "ko": "{number}번 기록은 이미 {by}번 기록으로 되돌렸습니다.",
    },
    "switches.changed_since": {
        "en": "What entry {number} did was changed by somebody since; undo the later entry instead.",
        "ko": "{number}번 기록이 한 일을 그 뒤에 누군가 바꾸었습니다. 나중 기록을 되돌리세요.",
    },
    "switches.period_over": {
        "en": "The period that entry {number} increased is over.",
        "ko": "{number}번 기록으로 증액한 기간은 이미 끝났습니다.",
    },
    "switches.busy": {
        "en": "Others change the same thing at this moment. Try again.",
        "ko": "지금 다른 사람이 같은 것을 바꾸고 있습니다. 다시 시도해 주세요.",
    },
}
