"""`spendgate services`: help, and what it says."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.services.summary": {
        "en": "Show services, what would be stopped, and stop or start one.",
        "ko": "서비스와 멈출 순서를 보고, 직접 멈추거나 시작합니다.",
    },
    "cli.services.about": {
        "en": """Services of rules.yaml stop by themselves when the money is short: optional ones at a budget's restrict
            line, important ones at its stop line, dependants first; they come back by themselves at the new period, after
            an increase or a lift. list shows how they are, plan what would be done now or --at a percentage. stop and
            start overrule the money until auto. A running proxy acts within seconds.""",
        "ko": """rules.yaml의 서비스는 돈이 모자라면 저절로 멈춥니다. optional은 예산의 제한선에서, important는 중단선에서, 의존하는
            것부터 멈춥니다. 새 기간이 시작되거나 증액 또는 해제하면 저절로 돌아옵니다. list는 상태를, plan은 지금 또는 --at
            비율에서 할 일을 보여 줍니다. stop과 start는 auto를 할 때까지 돈보다 앞섭니다. 실행 중인 프록시가 몇 초 안에 처리합니다.""",
    },
    "cli.services.examples": {
        "en": """\
spendgate services list
spendgate services plan --at 100
spendgate services stop reports --reason "not needed this week"
spendgate services auto reports --reason "needed again\"""",
        "ko": """\
spendgate services list
spendgate services plan --at 100
spendgate services stop reports --reason "이번 주에는 필요 없음"
spendgate services auto reports --reason "다시 필요함\"""",
    },
    "cli.services.words": {
        "en": "{action}: list and plan stand alone; stop, start and auto take the name of one service.",
        "ko": "{action}: list와 plan은 그대로 쓰고, stop, start, auto에는 서비스 이름 하나를 씁니다.",
    },
    "cli.services.bad_at": {
        "en": "“{at}” is not a percentage from 0 to 100.",
        "ko": "‘{at}’은(는) 0부터 100까지의 비율이 아닙니다.",
    },
    "cli.services.none": {"en": "rules.yaml declares no services.", "ko": "rules.yaml에 선언된 서비스가 없습니다."},
    "cli.services.nothing": {"en": "Nothing would be done.", "ko": "할 일이 없습니다."},
    "cli.services.row": {"en": "{name}  {priority}  {state}", "ko": "{name}  {priority}  {state}"},
    "cli.services.runs": {"en": "runs", "ko": "실행 중"},
    "cli.services.stopped": {"en": "stopped", "ko": "멈춤"},
    "cli.services.starting": {"en": "to be started", "ko": "시작 예정"},
    "cli.services.stopping": {"en": "to be stopped", "ko": "멈출 예정"},
    "cli.services.failed": {"en": "failed {tries} times: {error}", "ko": "{tries}번 실패: {error}"},
    "cli.services.step.stop": {"en": "{number}. stop {name}  ({why})", "ko": "{number}. {name} 멈춤  ({why})"},
    "cli.services.step.start": {"en": "{number}. start {name}  ({why})", "ko": "{number}. {name} 시작  ({why})"},
    "cli.services.hand.stop": {
        "en": "{name} is to be stopped, until auto.",
        "ko": "auto를 할 때까지 {name}을(를) 멈춥니다.",
    },
    "cli.services.hand.start": {
        "en": "{name} is to run, until auto.",
        "ko": "auto를 할 때까지 {name}을(를) 실행합니다.",
    },
    "cli.services.hand.auto": {"en": "{name} follows the money again.", "ko": "{name}이(가) 다시 예산을 따릅니다."},
    "cli.opt.services_at": {
        "en": "As if every budget were at so many percent.",
        "ko": "모든 예산이 이 비율에 있다고 가정합니다.",
    },
}
