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
    "app.admin_open": {
        "en": "The admin address {address} can be reached from other machines, but rules.yaml names no admin tokens, so "
        "anybody there could stop your calls or raise your budget. Declare tokens under “admin”, or use --admin 127.0.0.1:8081.",
        "ko": "관리 주소 {address}은(는) 다른 컴퓨터에서도 접속할 수 있는데 rules.yaml에 관리 토큰이 없습니다. 이대로라면 누구나 "
        "호출을 멈추거나 예산을 늘릴 수 있습니다. ‘admin’에 토큰을 선언하거나 --admin 127.0.0.1:8081을 쓰세요.",
    },
}
