"""What to write instead of a flag or variable that cannot be used."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "settings.address": {
        "en": "Use HOST:PORT, for example 127.0.0.1:8080.",
        "ko": "127.0.0.1:8080처럼 HOST:PORT 형식으로 써 주세요.",
    },
    "settings.port": {
        "en": "Use HOST:PORT with a port from 0 to 65535, for example 127.0.0.1:8080.",
        "ko": "127.0.0.1:8080처럼 HOST:PORT 형식으로 쓰고, 포트는 0부터 65535까지로 해 주세요.",
    },
    "settings.number": {
        "en": "Use a number from {low} to {high}.",
        "ko": "{low}부터 {high}까지의 숫자를 써 주세요.",
    },
    "settings.one_of": {
        "en": "Use one of these: {allowed}.",
        "ko": "다음 중 하나를 써 주세요: {allowed}.",
    },
    "settings.redis": {
        "en": "Use a URL that begins with redis://, rediss:// or unix://.",
        "ko": "redis://, rediss:// 또는 unix://로 시작하는 URL을 써 주세요.",
    },
    "settings.tenant": {
        "en": "Use letters, digits, - and _.",
        "ko": "글자, 숫자, -, _만 써 주세요.",
    },
}
