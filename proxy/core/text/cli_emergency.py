"""`spendgate emergency` and `spendgate audit`: help, and what they say."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.emergency.summary": {
        "en": "Stop, block, lift, bypass or increase by hand, and undo it.",
        "ko": "손으로 멈추고, 막고, 풀고, 우회하고, 증액하고, 되돌립니다.",
    },
    "cli.emergency.about": {
        "en": """Acts at once in every proxy that uses this store, from the next request on. Every act needs a reason,
            is written to the audit trail, and is undone by its number. stop refuses everything that costs money; block
            refuses one api:NAME, rule:ID or caller:NAME; lift sets all, budget:NAME or api:NAME aside until a time;
            bypass lets everything pass, counted, until a time; increase adds to a budget for this period; approve lets
            an increase happen that somebody else asked for; undo takes an act back; status shows what is in force.
            incidents lists what went wrong by itself and is open (--all: also what is over); incident shows one,
            acknowledges or resolves it with a --note, or applies what is proposed for it.""",
        "ko": """이 저장소를 쓰는 모든 프록시에 다음 요청부터 바로 적용됩니다. 모든 조치에는 사유가 필요하고, 감사 기록에
            남으며, 번호로 되돌릴 수 있습니다. stop은 비용이 드는 것을 모두 거절합니다. block은 api:이름, rule:ID, caller:이름
            하나를 막습니다. lift는 all, budget:이름, api:이름의 제한을 정한 시각까지 풉니다. bypass는 정한 시각까지 모두
            통과시키되 비용은 셉니다. increase는 이번 기간의 예산을 늘립니다. approve는 다른 사람이 요청한 증액을 승인합니다.
            undo는 조치를 되돌리고, status는 지금 적용 중인 조치를 보여 줍니다. incidents는 저절로 발견되어 열려 있는 사고를
            보여 주고(--all: 끝난 것까지), incident는 사고 하나를 보거나(show) --note와 함께 확인·해결로 처리하거나
            제안된 조치를 실행합니다(apply).""",
    },
    "cli.emergency.examples": {
        "en": """\
spendgate emergency stop --reason "invoice does not add up"
spendgate emergency block caller:batch --until 2h --reason "runs in a loop"
spendgate emergency lift budget:monthly --until 18:00 --reason "customer demo"
spendgate emergency increase monthly 5000 --reason "campaign week"
spendgate emergency undo 17 --reason "over"
spendgate emergency status
spendgate emergency incidents
spendgate emergency incident apply 0a1b2c3d block_caller""",
        "ko": """\
spendgate emergency stop --reason "청구서가 맞지 않음"
spendgate emergency block caller:batch --until 2h --reason "무한 반복"
spendgate emergency lift budget:monthly --until 18:00 --reason "고객 시연"
spendgate emergency increase monthly 5000 --reason "행사 기간"
spendgate emergency undo 17 --reason "끝남"
spendgate emergency status
spendgate emergency incidents
spendgate emergency incident apply 0a1b2c3d block_caller""",
    },
    "cli.emergency.words": {"en": "{action} is written so: {usage}", "ko": "{action}은(는) 이렇게 씁니다: {usage}"},
    "cli.emergency.usage.status": {
        "en": "spendgate emergency status, with nothing behind it",
        "ko": "spendgate emergency status (뒤에 아무것도 붙이지 않음)",
    },
    "cli.emergency.usage.stop": {
        "en": "spendgate emergency stop --reason TEXT [--until TIME]",
        "ko": "spendgate emergency stop --reason 사유 [--until 시각]",
    },
    "cli.emergency.usage.block": {
        "en": "spendgate emergency block api:NAME|rule:ID|caller:NAME --reason TEXT [--until TIME]",
        "ko": "spendgate emergency block api:이름|rule:ID|caller:이름 --reason 사유 [--until 시각]",
    },
    "cli.emergency.usage.lift": {
        "en": "spendgate emergency lift all|budget:NAME|api:NAME --until TIME --reason TEXT",
        "ko": "spendgate emergency lift all|budget:이름|api:이름 --until 시각 --reason 사유",
    },
    "cli.emergency.usage.bypass": {
        "en": "spendgate emergency bypass --until TIME --reason TEXT",
        "ko": "spendgate emergency bypass --until 시각 --reason 사유",
    },
    "cli.emergency.usage.increase": {
        "en": "spendgate emergency increase BUDGET AMOUNT --reason TEXT",
        "ko": "spendgate emergency increase 예산 금액 --reason 사유",
    },
    "cli.emergency.usage.approve": {
        "en": "spendgate emergency approve NUMBER --reason TEXT",
        "ko": "spendgate emergency approve 번호 --reason 사유",
    },
    "cli.emergency.usage.undo": {
        "en": "spendgate emergency undo NUMBER --reason TEXT",
        "ko": "spendgate emergency undo 번호 --reason 사유",
    },
    "cli.emergency.nothing": {
        "en": "There is no store in {where} yet: nothing was ever counted there.",
        "ko": "{where}에 아직 저장소가 없습니다. 집계된 것이 없습니다.",
    },
    "cli.emergency.done.stop": {
        "en": "Everything that costs money is stopped.",
        "ko": "비용이 드는 호출을 모두 멈췄습니다.",
    },
    "cli.emergency.done.block": {"en": "{target} is blocked.", "ko": "{target}을(를) 막았습니다."},
    "cli.emergency.done.lift": {
        "en": "The restriction of {target} is lifted until {until}.",
        "ko": "{target}의 제한을 {until}까지 풀었습니다.",
    },
    "cli.emergency.done.bypass": {
        "en": "Everything passes until {until}, and is still counted.",
        "ko": "{until}까지 모두 통과시킵니다. 비용은 계속 셉니다.",
    },
    "cli.emergency.done.increase": {
        "en": "The limit of {target} is {after} until {until}.",
        "ko": "{target}의 한도가 {until}까지 {after}입니다.",
    },
    "cli.emergency.done.increase.asked": {
        "en": "The increase of {target} waits for a second person until {until}.",
        "ko": "{target} 증액이 {until}까지 다른 사람의 승인을 기다립니다.",
    },
    "cli.emergency.done.undo": {"en": "Entry {undoes} is undone.", "ko": "{undoes}번 조치를 되돌렸습니다."},
    "cli.emergency.until": {"en": "It ends by itself at {until}.", "ko": "{until}에 저절로 끝납니다."},
    "cli.emergency.undo": {
        "en": "Undo: spendgate emergency undo {number} --reason TEXT",
        "ko": "되돌리기: spendgate emergency undo {number} --reason 사유",
    },
    "cli.emergency.approve": {
        "en": "Somebody else approves: spendgate emergency approve {number} --reason TEXT",
        "ko": "다른 사람이 승인: spendgate emergency approve {number} --reason 사유",
    },
    "cli.emergency.quiet": {"en": "Nothing is switched by hand.", "ko": "손으로 바꾼 것이 없습니다."},
    "cli.emergency.forever": {"en": "undone", "ko": "되돌릴 때"},
    "cli.emergency.row": {
        "en": "{switch}  until {until}  (entry {entry})",
        "ko": "{switch}  {until}까지  ({entry}번 기록)",
    },
    "cli.emergency.waiting": {
        "en": "An increase of {target}, asked for by {by}, waits: spendgate emergency approve {number} --reason TEXT",
        "ko": "{by}이(가) 요청한 {target} 증액이 기다립니다: spendgate emergency approve {number} --reason 사유",
    },
    "cli.opt.reason": {"en": "Why: stands in the audit trail.", "ko": "사유. 감사 기록에 남습니다."},
    "cli.opt.until": {
        "en": "When it ends: 30m, 2h, 18:00, 2026-12-01 or ISO 8601.",
        "ko": "끝나는 시각: 30m, 2h, 18:00, 2026-12-01 또는 ISO 8601.",
    },
    "cli.opt.by": {"en": "Who does it (default: the system's user).", "ko": "누가 하는지 (기본: 시스템 사용자)."},
    "cli.audit.summary": {
        "en": "Show who did what, and check the trail.",
        "ko": "누가 무엇을 했는지 보고 기록을 검증합니다.",
    },
    "cli.audit.about": {
        "en": """list shows who did what, when and why, the newest first. verify walks the whole trail: every entry
            holds the hash of the one before, so a changed, removed or inserted entry shows. --head HASH also looks for a
            hash that a log kept (audit.recorded). Exit code 1: the trail is not whole.""",
        "ko": """list는 누가 언제 왜 무엇을 했는지 최근 것부터 보여 줍니다. verify는 기록 전체를 확인합니다. 모든 기록이 앞
            기록의 해시를 담고 있어서 바꾸거나 지우거나 끼워 넣으면 드러납니다. --head 해시를 주면 로그(audit.recorded)에 남은
            해시가 있는지도 확인합니다. 종료 코드 1: 기록이 온전하지 않습니다.""",
    },
    "cli.audit.examples": {
        "en": "spendgate audit list --last 50\nspendgate audit verify",
        "ko": "spendgate audit list --last 50\nspendgate audit verify",
    },
    "cli.audit.none": {"en": "Nobody has done anything by hand yet.", "ko": "아직 손으로 한 일이 없습니다."},
    "cli.audit.number": {"en": "no.", "ko": "번호"},
    "cli.audit.at": {"en": "when", "ko": "시각"},
    "cli.audit.by": {"en": "who", "ko": "누가"},
    "cli.audit.action": {"en": "what", "ko": "무엇을"},
    "cli.audit.target": {"en": "of what", "ko": "대상"},
    "cli.audit.until": {"en": "until", "ko": "기한"},
    "cli.audit.reason": {"en": "why", "ko": "사유"},
    "cli.audit.sound": {
        "en": "The trail is whole: {count} entries, the last hash is {head}.",
        "ko": "기록이 온전합니다. {count}건, 마지막 해시 {head}.",
    },
    "cli.audit.broken.changed": {"en": "Entry {number} was changed.", "ko": "{number}번 기록이 바뀌었습니다."},
    "cli.audit.broken.missing": {"en": "Entry {number} is missing.", "ko": "{number}번 기록이 없습니다."},
    "cli.audit.broken.unreadable": {
        "en": "Entry {number} cannot be read.",
        "ko": "{number}번 기록을 읽을 수 없습니다.",
    },
    "cli.audit.broken.cut": {
        "en": "The trail is cut off: entry {number} and later ones are missing.",
        "ko": "기록이 잘렸습니다. {number}번부터 없습니다.",
    },
    "cli.audit.broken.head": {
        "en": "The hash asked for is not in the trail: it is not the one that was logged.",
        "ko": "찾는 해시가 기록에 없습니다. 로그에 남은 그 기록이 아닙니다.",
    },
    "cli.opt.audit_last": {"en": "Only the newest N entries (default: 20).", "ko": "가장 최근 N건만 (기본: 20)."},
    "cli.opt.audit_head": {
        "en": "A hash from a log that must be in the trail.",
        "ko": "기록에 있어야 하는 로그의 해시.",
    },
}
