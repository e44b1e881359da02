"""What a starting or stopping proxy says."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "app.rules_refused": {
        "en": "spendgate: {file} has mistakes, so the proxy did not start. Mend them, or see `spendgate check {file}`.",
        "ko": "spendgate: {file}에 오류가 있어 프록시를 시작하지 않았습니다. 고친 뒤 다시 실행하거나 `spendgate check {file}`로 "
        "확인해 주세요.",
    },
    "app.cannot_listen": {
        "en": "The address {address} cannot be used: {reason}. Choose another one with --listen or --admin, or stop the "
        "program that uses it.",
        "ko": "주소 {address}을(를) 사용할 수 없습니다: {reason}. --listen 또는 --admin으로 다른 주소를 고르거나, 이 주소를 쓰는 "
        "프로그램을 중지해 주세요.",
    },
}
