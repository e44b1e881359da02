"""Outside and fixed costs: what the command, the API and `check` say."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.charge.summary": {"en": "Enter a cost that no call made.", "ko": "호출 없이 생긴 비용을 입력합니다."},
    "cli.charge.about": {
        "en": """Adds a cost that was paid somewhere else to the budgets, the ledger and the thresholds. NAME stands in the
            ledger; the name of an API counts for its own budgets, too. With --key the same charge entered twice counts
            once; scripts should give one.""",
        "ko": """다른 곳에서 낸 비용을 예산과 장부, 경고선에 더합니다. 이름은 장부에 남고, API의 이름이면 그 API의 예산에도
            들어갑니다. --key를 주면 같은 비용을 두 번 입력해도 한 번만 셉니다. 스크립트에서는 꼭 주세요.""",
    },
    "cli.charge.examples": {
        "en": 'spendgate charge domain 1200 --key invoice-2026-11 --text "renewed"\nspendgate charge gpu-host 3.5 --currency USD',
        "ko": 'spendgate charge domain 1200 --key invoice-2026-11 --text "갱신"\nspendgate charge gpu-host 3.5 --currency USD',
    },
    "cli.charge.bad_amount": {
        "en": "“{amount}” {currency} is not an amount above nothing. Write a plain number such as 1200, and a code such as KRW.",
        "ko": "‘{amount}’ {currency}은(는) 0보다 큰 금액이 아닙니다. 1200 같은 숫자와 KRW 같은 통화 코드로 써 주세요.",
    },
    "cli.charge.bad_name": {
        "en": "“{name}” is no name: use letters, digits, “.”, “_” and “-”.",
        "ko": "‘{name}’은(는) 이름으로 쓸 수 없습니다. 영문자, 숫자, ‘.’, ‘_’, ‘-’만 쓰세요.",
    },
    "cli.charge.key_taken": {
        "en": "The key “{used}” stands for another charge already.",
        "ko": "키 ‘{used}’은(는) 이미 다른 비용에 쓰였습니다.",
    },
    "cli.charge.no_rate": {
        "en": "rules.yaml has no exchange rate for {currency}.",
        "ko": "rules.yaml에 {currency} 환율이 없습니다.",
    },
    "cli.charge.done": {
        "en": "Charged {amount} to {name} (entry {id}).",
        "ko": "{name}에 {amount}을(를) 입력했습니다 (기록 {id}).",
    },
    "cli.charge.before": {
        "en": "{amount} of {name} had been entered already (entry {id}).",
        "ko": "{name}의 {amount}은(는) 이미 입력되어 있습니다 (기록 {id}).",
    },
    "cli.opt.charge_key": {
        "en": "Idempotency key: the same key counts once.",
        "ko": "중복 방지 키. 같은 키는 한 번만 셉니다.",
    },
    "cli.opt.charge_currency": {
        "en": "Currency of the amount (default: the rules').",
        "ko": "금액의 통화 (기본: 규칙의 통화).",
    },
    "cli.opt.charge_text": {
        "en": "What it was for: stands in the ledger.",
        "ko": "무엇에 쓴 비용인지. 장부에 남습니다.",
    },
    "admin.bad_amount": {
        "en": "The amount is not a plain number above nothing.",
        "ko": "금액이 0보다 큰 숫자가 아닙니다.",
    },
    "admin.key_taken": {
        "en": "The key stands for another charge already.",
        "ko": "이 키는 이미 다른 비용에 쓰였습니다.",
    },
    "admin.no_rate": {
        "en": "rules.yaml has no exchange rate for {currency}.",
        "ko": "rules.yaml에 {currency} 환율이 없습니다.",
    },
    "rules.bad_prometheus": {
        "en": "This is not the address of a Prometheus.",
        "ko": "프로메테우스 주소가 아닙니다.",
    },
    "rules.hint.prometheus_form": {
        "en": "Write it as http://prometheus:9090, without a password and without /api; a token goes into token_env.",
        "ko": "http://prometheus:9090처럼 비밀번호와 /api 없이 쓰고, 토큰은 token_env에 넣으세요.",
    },
    "rules.twice_fixed": {
        "en": "The fixed cost “{got}” is declared twice.",
        "ko": "고정비 ‘{got}’이(가) 두 번 선언되었습니다.",
    },
}
