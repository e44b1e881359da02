"""What `status`, `ledger`, `doctor` and `run` say about what was counted."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.status.budgets": {"en": "Budgets", "ko": "예산"},
    "cli.status.apis": {"en": "APIs", "ko": "API"},
    "cli.status.running": {"en": "Running", "ko": "실행"},
    "cli.status.attention": {"en": "Look at this", "ko": "살펴볼 것"},
    "cli.status.api": {"en": "API", "ko": "API"},
    "cli.status.month": {"en": "this month", "ko": "이달"},
    "cli.status.today": {"en": "today", "ko": "오늘"},
    "cli.status.saved": {"en": "saved", "ko": "절약"},
    "cli.status.calls": {"en": "calls", "ko": "호출"},
    "cli.status.refused": {"en": "refused", "ko": "거절"},
    "cli.status.no_api": {"en": "(no API)", "ko": "(API 없음)"},
    "cli.status.proxy_value": {
        "en": "({host}, pid {pid}, since {started})",
        "ko": "({host}, pid {pid}, {started}부터)",
    },
    "cli.status.no_proxy": {"en": "no proxy is running", "ko": "실행 중인 프록시가 없습니다"},
    "cli.status.no_store": {
        "en": "nothing in {where} yet: no proxy has run with it",
        "ko": "{where}: 아직 아무것도 없습니다. 이 폴더로 프록시를 실행한 적이 없습니다",
    },
    "cli.status.loaded": {"en": "loaded {when}", "ko": "{when}에 읽음"},
    "cli.status.as_of": {"en": "As of {time}. Ctrl-C ends.", "ko": "{time} 현재. Ctrl-C를 누르면 끝납니다."},
    "cli.status.more": {
        "en": "Lines that do not fit here: {count}. Enlarge the window.",
        "ko": "화면에 다 들어가지 않은 줄이 {count}줄 있습니다. 창을 키워 주세요.",
    },
    "cli.status.in_flight": {"en": "In flight", "ko": "진행 중"},
    "cli.status.other_rules": {
        "en": "A running proxy has other rules than this file (hash {hash}).",
        "ko": "실행 중인 프록시의 규칙이 이 파일과 다릅니다 (해시 {hash}).",
    },
    "cli.status.pending": {
        "en": "Settlements that the proxy with pid {pid} still has to write: {count}.",
        "ko": "pid {pid} 프록시에 저장소가 아직 받지 못한 정산이 {count}건 있습니다.",
    },
    # --- notes of ledger entries
    "cli.note.usage_missing": {
        "en": "{api}: answers without usage this month: {count}. Their estimates were charged.",
        "ko": "{api}: 이달 응답 {count}건에 사용량이 없어 추정액을 청구했습니다.",
    },
    "cli.note.unpriced_model": {
        "en": "{api}: calls of models without a price this month: {count}. They count as 0: price them in rules.yaml.",
        "ko": "{api}: 이달 호출 {count}건이 가격을 모르는 모델을 써서 0으로 셌습니다. rules.yaml에 가격을 넣어 주세요.",
    },
    "cli.note.no_rule": {
        "en": "{api}: calls that passed without a rule this month: {count}. They count as 0 (unknown: observe).",
        "ko": "{api}: 이달 호출 {count}건이 규칙 없이 통과해 0으로 셌습니다 (unknown: observe).",
    },
    "cli.note.unconfirmed": {
        "en": "{api}: calls this month whose proxy died: {count}. Their estimates were charged.",
        "ko": "{api}: 이달 호출 {count}건은 프록시가 도중에 죽어 추정액으로 청구했습니다.",
    },
    "cli.note.no_response": {
        "en": "{api}: calls without an answer this month: {count}. Their estimates were charged.",
        "ko": "{api}: 이달 호출 {count}건은 보냈지만 응답이 없어 추정액을 청구했습니다.",
    },
    "cli.note.cut": {
        "en": "{api}: answers that broke off this month: {count}. What had arrived was charged.",
        "ko": "{api}: 이달 응답 {count}건이 중간에 끊겨 받은 만큼 청구했습니다.",
    },
    "cli.note.bypass": {
        "en": "{api}: calls that passed on the emergency bypass this month: {count}. They were counted, not judged.",
        "ko": "{api}: 이달 호출 {count}건이 비상 우회로 통과했습니다. 집계에는 포함됩니다.",
    },
    "cli.note.other": {"en": "{api}: {note} ({count} this month)", "ko": "{api}: {note} (이달 {count}건)"},
    # --- ledger
    "cli.ledger.none": {"en": "The ledger is empty.", "ko": "원장이 비어 있습니다."},
    "cli.ledger.not_found": {"en": "the ledger has no entry {id}.", "ko": "원장에 {id} 기록이 없습니다."},
    "cli.ledger.bad_last": {
        "en": "--last must be a whole number above 0, not “{text}”.",
        "ko": "--last에는 1 이상의 정수를 써 주세요. ‘{text}’는 안 됩니다.",
    },
    "cli.ledger.at": {"en": "time", "ko": "시각"},
    "cli.ledger.rule": {"en": "rule", "ko": "규칙"},
    "cli.ledger.caller": {"en": "caller", "ko": "호출자"},
    "cli.ledger.call": {"en": "call", "ko": "호출"},
    "cli.ledger.cost": {"en": "cost", "ko": "비용"},
    "cli.ledger.state": {"en": "state", "ko": "상태"},
    # --- doctor
    "cli.doctor.ok": {"en": "ok", "ko": "정상"},
    "cli.doctor.warn": {"en": "look", "ko": "주의"},
    "cli.doctor.fail": {"en": "fail", "ko": "실패"},
    "cli.doctor.healthy": {"en": "Everything adds up.", "ko": "모두 맞습니다."},
    "cli.doctor.warnings": {
        "en": "Nothing failed. Points to look at: {warnings}.",
        "ko": "실패한 점검은 없습니다. 살펴볼 것이 {warnings}개 있습니다.",
    },
    "cli.doctor.failed": {
        "en": "Checks failed: {failures}. What to do stands below each.",
        "ko": "실패한 점검이 {failures}개 있습니다. 할 일은 각 항목 아래에 있습니다.",
    },
    "cli.doctor.nothing": {
        "en": "nothing to check in {where}: no proxy has run with it yet.",
        "ko": "{where}에는 점검할 것이 없습니다. 아직 프록시를 실행한 적이 없습니다.",
    },
}
