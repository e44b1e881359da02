"""Sentences of `spendgate check` about interception and the certificates of APIs."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "rules.pinned_without": {
        "en": "“on_pinned” says nothing without “intercept: true”.",
        "ko": "‘intercept: true’가 없으면 ‘on_pinned’는 의미가 없습니다.",
    },
    "rules.hint.pinned_needs": {
        "en": "Add “intercept: true”, or remove the key.",
        "ko": "‘intercept: true’를 더하거나 이 키를 지우세요.",
    },
    "rules.pinned_no_price": {
        "en": "Programs that pin certificates should pass as tunnels, but no price of this API fits a tunnel.",
        "ko": "인증서를 고정한 프로그램을 터널로 통과시키려 하지만, 이 API에는 터널에 맞는 가격이 없습니다.",
    },
    "rules.hint.price_tunnels": {
        "en": "Add a price such as {{match: {{method: CONNECT}}, per_kb: {{down: 0.01}}}}.",
        "ko": "{{match: {{method: CONNECT}}, per_kb: {{down: 0.01}}}} 같은 가격을 추가하세요.",
    },
    "rules.intercept_no_host": {
        "en": "There is no host to intercept: the upstream is plain HTTP and no “hosts” are given.",
        "ko": "가로챌 호스트가 없습니다. 업스트림이 일반 HTTP이고 ‘hosts’도 없습니다.",
    },
    "rules.hint.give_hosts": {
        "en": "Name the hosts that programs call: hosts: [api.example.com].",
        "ko": "프로그램이 호출하는 호스트를 적어 주세요: hosts: [api.example.com].",
    },
    "rules.intercept_wide": {
        "en": "“{got}” would let the local authority sign for a whole top-level domain.",
        "ko": "‘{got}’을(를) 허용하면 로컬 인증 기관이 최상위 도메인 전체에 서명할 수 있게 됩니다.",
    },
    "rules.hint.name_hosts": {
        "en": "Name the hosts themselves, or a domain below it: *.example.com.",
        "ko": "호스트를 하나씩 적거나 그 아래 도메인을 적으세요: *.example.com.",
    },
    "rules.trust_without_tls": {
        "en": "“{got}” says nothing here: calls to this API do not use TLS.",
        "ko": "이 API 호출에는 TLS를 쓰지 않으므로 ‘{got}’는 의미가 없습니다.",
    },
    "rules.hint.use_https": {
        "en": "Give an https:// upstream, or remove the key.",
        "ko": "업스트림을 https:// 주소로 바꾸거나 이 키를 지우세요.",
    },
    "rules.bad_ca_file": {
        "en": "The file “{got}” cannot be used: {why}.",
        "ko": "‘{got}’ 파일을 쓸 수 없습니다: {why}.",
    },
    "rules.hint.ca_file_form": {
        "en": "Name a PEM file with certificates; its path is relative to the rules file.",
        "ko": "인증서가 든 PEM 파일을 적으세요. 경로는 규칙 파일을 기준으로 합니다.",
    },
    "rules.bad_pin": {
        "en": "“{got}” is not a pinned key.",
        "ko": "‘{got}’은(는) 고정할 키의 형식이 아닙니다.",
    },
    "rules.hint.pin_form": {
        "en": "Write sha256/ and the base64 of the SHA-256 of the certificate's public key (SPKI).",
        "ko": "sha256/ 뒤에 인증서 공개 키(SPKI)의 SHA-256을 base64로 적으세요.",
    },
}
