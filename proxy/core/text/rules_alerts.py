"""Sentences of `spendgate check` about rules.yaml's `alerts`."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "rules.twice_channel": {
        "en": "There is an alert channel “{got}” already, at {first}.",
        "ko": "알림 채널 ‘{got}’이(가) 이미 {first}에 있습니다.",
    },
    "rules.channel_no_way": {
        "en": "The channel does not say where its alerts go.",
        "ko": "이 채널에 알림을 보낼 곳이 없습니다.",
    },
    "rules.channel_two_ways": {
        "en": "The channel says more than once where its alerts go.",
        "ko": "이 채널에 알림을 보낼 곳이 둘 이상 있습니다.",
    },
    "rules.hint.channel_ways": {
        "en": "Give exactly one of: url_env, webhook, webhook_env, log.",
        "ko": "url_env, webhook, webhook_env, log 가운데 하나만 쓰세요.",
    },
    "rules.secret_without_webhook": {
        "en": "“secret_env” signs the messages of a webhook, and this channel is none.",
        "ko": "‘secret_env’는 웹훅 메시지에 서명할 때 쓰는데, 이 채널은 웹훅이 아닙니다.",
    },
    "rules.webhook_unsigned": {
        "en": "A webhook needs a secret, so that its receiver can tell our messages from others.",
        "ko": "웹훅에는 받는 쪽이 우리 메시지를 알아볼 수 있도록 비밀값이 필요합니다.",
    },
    "rules.hint.give_secret": {
        "en": "Add “secret_env: NAME”, an environment variable with a long random text.",
        "ko": "긴 임의의 글자가 든 환경 변수를 ‘secret_env: 이름’으로 추가하세요.",
    },
    "rules.bad_channel_url": {
        "en": "The variable {got} does not hold a URL as apprise writes it.",
        "ko": "환경 변수 {got}의 값이 apprise 형식의 URL이 아닙니다.",
    },
    "rules.hint.channel_url_form": {
        "en": "Examples: slack://A/B/C/#channel, discord://ID/TOKEN, mailtos://user:password@example.com.",
        "ko": "예: slack://A/B/C/#channel, discord://ID/TOKEN, mailtos://user:password@example.com.",
    },
    "rules.off_and_more": {
        "en": "What is off has nothing else to say.",
        "ko": "끈 항목에는 다른 설정을 쓸 수 없습니다.",
    },
    "rules.burn_too_long": {
        "en": "A window of {got} hours is longer than the {most} hours that are kept.",
        "ko": "{got}시간은 보관하는 {most}시간보다 깁니다.",
    },
    "rules.bad_webhook": {"en": "This is not the address of a webhook.", "ko": "웹훅 주소가 아닙니다."},
    "rules.hint.webhook_form": {
        "en": "Write it as https://ops.example.com/hooks/money.",
        "ko": "https://ops.example.com/hooks/money처럼 쓰세요.",
    },
    "rules.unknown_budget": {"en": "There is no budget “{got}”.", "ko": "예산 ‘{got}’이(가) 없습니다."},
    "rules.quiet_always": {
        "en": "Quiet hours that begin and end at the same time would never end.",
        "ko": "방해 금지 시간의 시작과 끝이 같으면 끝나지 않습니다.",
    },
    "rules.hint.quiet_form": {
        "en": 'Write them as {{from: "22:00", to: "08:00"}}.',
        "ko": '{{from: "22:00", to: "08:00"}}처럼 쓰세요.',
    },
}
