"""What `spendgate alerts` and the outlook of `spendgate status` say."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.alerts.summary": {
        "en": "See alerts and their delivery; test the channels.",
        "ko": "알림과 전달 상태를 보고 채널을 시험합니다.",
    },
    "cli.alerts.about": {
        "en": """What happened to the money is told to the channels under “alerts” in rules.yaml: thresholds, an expected
            overrun, money that goes too fast, unusual spending, open circuits, calls without a price, silent proxies.

            list shows what was told and whether it arrived; ack notes that you have seen it. dead shows what could not
            be delivered, retry sends it again. test sends a test to every channel, or to those named, from this
            command itself; no proxy needs to run.""",
        "ko": """예산에 생긴 일은 rules.yaml의 ‘alerts’에 적은 채널로 알립니다. 임계값, 예상 초과, 너무 빠른 지출, 평소와 다른
            지출, 열린 회로, 가격 없는 호출, 응답 없는 프록시가 그 대상입니다.

            list는 알린 내용과 전달 여부를 보여 주고, ack는 확인했다고 적습니다. dead는 전달하지 못한 알림을 보여 주고 retry는
            다시 보냅니다. test는 모든 채널이나 이름을 준 채널에 시험 알림을 보냅니다. 프록시를 실행하지 않아도 됩니다.""",
    },
    "cli.alerts.examples": {
        "en": """\
spendgate alerts test
spendgate alerts list --last 5
spendgate alerts ack a1b2c3d4e5
spendgate alerts dead
spendgate alerts retry""",
        "ko": """\
spendgate alerts test
spendgate alerts list --last 5
spendgate alerts ack a1b2c3d4e5
spendgate alerts dead
spendgate alerts retry""",
    },
    "cli.opt.alerts_last": {
        "en": "Only the newest N alerts (default: 20).",
        "ko": "가장 최근 N건만 (기본: 20건).",
    },
    "cli.alerts.none": {"en": "Nothing was told yet.", "ko": "아직 알린 것이 없습니다."},
    "cli.alerts.at": {"en": "time", "ko": "시각"},
    "cli.alerts.id": {"en": "id", "ko": "번호"},
    "cli.alerts.severity": {"en": "severity", "ko": "심각도"},
    "cli.alerts.what": {"en": "what", "ko": "내용"},
    "cli.alerts.told": {"en": "delivery", "ko": "전달"},
    "cli.alerts.nobody": {"en": "to no channel", "ko": "채널 없음"},
    "cli.alerts.seen": {"en": "seen by {who}", "ko": "{who} 확인"},
    "cli.alerts.state.sent": {"en": "arrived", "ko": "전달됨"},
    "cli.alerts.state.waiting": {"en": "waits", "ko": "대기"},
    "cli.alerts.state.dead": {"en": "given up", "ko": "포기"},
    "cli.alerts.state.dropped": {"en": "no such channel now", "ko": "채널 없어짐"},
    "cli.alerts.acknowledged": {
        "en": "Alert {id} is marked as seen.",
        "ko": "알림 {id}을(를) 확인한 것으로 적었습니다.",
    },
    "cli.alerts.not_found": {"en": "there is no alert {id}.", "ko": "알림 {id}이(가) 없습니다."},
    "cli.alerts.which": {"en": "which alert?", "ko": "어느 알림인가요?"},
    "cli.alerts.which_hint": {
        "en": "Give its id; “spendgate alerts list” shows it.",
        "ko": "번호를 써 주세요. ‘spendgate alerts list’로 볼 수 있습니다.",
    },
    "cli.alerts.no_channel": {
        "en": "rules.yaml has no alert channel “{name}”. There are: {known}.",
        "ko": "rules.yaml에 알림 채널 ‘{name}’이(가) 없습니다. 있는 것: {known}.",
    },
    "cli.alerts.no_dead": {"en": "Every alert was delivered or is on its way.", "ko": "전달하지 못한 알림이 없습니다."},
    "cli.alerts.dead_line": {
        "en": "{entry}  alert {alert}  to {channel}  given up after {count} attempts: {error}",
        "ko": "{entry}  알림 {alert}  채널 {channel}  {count}번 시도 후 포기: {error}",
    },
    "cli.alerts.retried": {
        "en": "Deliveries that are tried again: {count}.",
        "ko": "다시 보내는 알림: {count}건.",
    },
    "cli.alerts.test_sent": {
        "en": "{channel} ({way}): the test arrived.",
        "ko": "{channel} ({way}): 시험 알림이 전달됐습니다.",
    },
    "cli.alerts.test_failed": {
        "en": "{channel} ({way}): the test did not arrive: {reason}.",
        "ko": "{channel} ({way}): 시험 알림을 전달하지 못했습니다: {reason}.",
    },
    # --- the admin port
    "admin.no_alert": {"en": "There is no alert {id}.", "ko": "알림 {id}이(가) 없습니다."},
    "admin.no_budget": {"en": "There is no budget {name}.", "ko": "예산 {name}이(가) 없습니다."},
    # --- the outlook in status
    "cli.status.outlook": {"en": "Outlook", "ko": "전망"},
    "cli.status.projected": {
        "en": "{expected} at the end of {period}",
        "ko": "{period} 말 {expected}",
    },
    "cli.status.between": {"en": "80 %: {low} to {high}", "ko": "80 %: {low} ~ {high}"},
    "cli.status.made_by": {"en": "by {name}", "ko": "{name} 기준"},
    "cli.status.comes": {"en": "{percent} % at {when}", "ko": "{percent} %: {when}"},
    "cli.status.over": {"en": "{over} above the limit", "ko": "한도보다 {over} 많음"},
}
