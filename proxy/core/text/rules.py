"""Sentences of `spendgate check`: what is wrong with rules.yaml (`rules.…`), what would be right (`rules.hint.…`), and
why a rule did not match (`match.…`)."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "rules.warning": {"en": "Warning:", "ko": "주의:"},
    # --- the file ---
    "rules.missing_file": {"en": "There is no such file.", "ko": "파일이 없습니다."},
    "rules.directory": {"en": "This is a directory, not a file.", "ko": "파일이 아니라 폴더입니다."},
    "rules.no_file": {"en": "This is not an ordinary file.", "ko": "일반 파일이 아닙니다."},
    "rules.unreadable": {"en": "The file cannot be read: {why}.", "ko": "파일을 읽을 수 없습니다: {why}."},
    "rules.too_large": {
        "en": "The file is larger than {most} bytes, which no rules file needs.",
        "ko": "파일이 {most}바이트보다 큽니다. 규칙 파일은 이렇게 클 필요가 없습니다.",
    },
    "rules.not_utf8": {"en": "The file is not UTF-8 text.", "ko": "UTF-8로 된 텍스트 파일이 아닙니다."},
    "rules.nul": {
        "en": "The file contains a NUL byte, so it is not text.",
        "ko": "NUL 바이트가 있습니다. 텍스트 파일이 아닙니다.",
    },
    "rules.hint.init": {
        "en": "“spendgate init” writes one to begin with.",
        "ko": "‘spendgate init’으로 시작용 파일을 만들 수 있습니다.",
    },
    "rules.hint.utf8": {"en": "Save it as UTF-8.", "ko": "UTF-8로 저장하세요."},
    "rules.empty_file": {"en": "The file is empty.", "ko": "파일이 비어 있습니다."},
    "rules.root_not_mapping": {
        "en": "The file must be a mapping of keys to values.",
        "ko": "파일 전체가 ‘키: 값’ 형태여야 합니다.",
    },
    "rules.hint.start_with_version": {
        "en": "Begin it with “version: 1”.",
        "ko": "‘version: 1’로 시작하세요.",
    },
    # --- YAML ---
    "rules.syntax": {"en": "This is not valid YAML: {problem}.", "ko": "올바른 YAML이 아닙니다: {problem}."},
    "rules.hint.began_in": {"en": "It began in line {line}.", "ko": "{line}번째 줄에서 시작했습니다."},
    "rules.hint.no_tabs": {
        "en": "Indent with spaces: YAML does not allow tabs there.",
        "ko": "들여쓰기에는 공백을 쓰세요. YAML은 그 자리에 탭을 허용하지 않습니다.",
    },
    "rules.alias": {
        "en": "Anchors and aliases (& and *) are not allowed in rules.",
        "ko": "규칙 파일에는 앵커와 별칭(&, *)을 쓸 수 없습니다.",
    },
    "rules.hint.alias_hint": {
        "en": "Write the value out, or put it in quotes if it begins with & or *.",
        "ko": "값을 그대로 쓰거나, 값이 & 또는 *로 시작하면 따옴표로 감싸세요.",
    },
    "rules.tag": {
        "en": "Tags (such as !!str or !name) are not allowed in rules.",
        "ko": "규칙 파일에는 태그(!!str, !name 등)를 쓸 수 없습니다.",
    },
    "rules.hint.tag_hint": {
        "en": "Leave the tag out, or put the value in quotes if it begins with “!”.",
        "ko": "태그를 지우거나, 값이 ‘!’로 시작하면 따옴표로 감싸세요.",
    },
    "rules.merge": {
        "en": "Merge keys (<<) are not allowed in rules.",
        "ko": "규칙 파일에는 병합 키(<<)를 쓸 수 없습니다.",
    },
    "rules.hint.merge_hint": {
        "en": "Use “defaults” for what several APIs share.",
        "ko": "여러 API에 공통인 값은 ‘defaults’에 쓰세요.",
    },
    "rules.key_not_text": {"en": "A key must be plain text.", "ko": "키는 단순한 글자여야 합니다."},
    "rules.hint.key_not_text_hint": {
        "en": "Write “name: value”; put text with braces or brackets in quotes.",
        "ko": "‘이름: 값’으로 쓰고, 괄호가 있는 글자는 따옴표로 감싸세요.",
    },
    "rules.two_documents": {
        "en": "A rules file holds one YAML document only.",
        "ko": "규칙 파일에는 YAML 문서가 하나만 있어야 합니다.",
    },
    "rules.hint.two_documents_hint": {"en": "Remove the “---” line.", "ko": "‘---’ 줄을 지우세요."},
    "rules.too_many": {"en": "The file has more than {most} values.", "ko": "값이 {most}개보다 많습니다."},
    "rules.hint.too_many_hint": {
        "en": "Split it, one file for each proxy.",
        "ko": "프록시마다 파일을 나누세요.",
    },
    "rules.too_deep": {
        "en": "Values are nested more than {most} levels deep.",
        "ko": "값이 {most}단계보다 깊게 겹쳐 있습니다.",
    },
    "rules.hint.too_deep_hint": {
        "en": "No rule needs that; look for an unclosed bracket.",
        "ko": "그렇게 깊은 규칙은 없습니다. 닫지 않은 괄호가 있는지 보세요.",
    },
    "rules.twice_key": {
        "en": "The key “{got}” is here twice; the first is in line {first}.",
        "ko": "키 ‘{got}’이(가) 두 번 있습니다. 첫 번째는 {first}번째 줄입니다.",
    },
    "rules.hint.remove_one": {"en": "Remove one of them.", "ko": "하나를 지우세요."},
    # --- keys and shapes ---
    "rules.unknown_key": {"en": "There is no key “{got}” here.", "ko": "여기에는 ‘{got}’이라는 키가 없습니다."},
    "rules.hint.did_you_mean": {"en": "Did you mean “{meant}”?", "ko": "‘{meant}’을(를) 뜻했나요?"},
    "rules.hint.known_are": {"en": "There are: {known}.", "ko": "쓸 수 있는 것: {known}."},
    "rules.not_understood": {"en": "This value is not understood.", "ko": "이 값을 이해할 수 없습니다."},
    "rules.missing": {"en": "The key “{got}” is missing.", "ko": "‘{got}’ 키가 없습니다."},
    "rules.hint.add_key": {"en": "Add “{example}”.", "ko": "‘{example}’처럼 추가하세요."},
    "rules.hint.none_declared": {"en": "None are declared.", "ko": "선언된 것이 없습니다."},
    "rules.nothing": {"en": "There is no value here.", "ko": "값이 없습니다."},
    "rules.hint.remove_or_fill": {"en": "Give one, or remove the key.", "ko": "값을 쓰거나 키를 지우세요."},
    "rules.hint.remove_key": {"en": "Remove the key.", "ko": "키를 지우세요."},
    "rules.not_mapping": {
        "en": "This must be a mapping of keys to values.",
        "ko": "‘키: 값’ 형태여야 합니다.",
    },
    "rules.hint.mapping_form": {
        "en": "Write {{key: value}}, or “key: value” on indented lines.",
        "ko": "{{키: 값}}으로 쓰거나 들여쓴 줄에 ‘키: 값’으로 쓰세요.",
    },
    "rules.not_list": {"en": "This must be a list.", "ko": "목록이어야 합니다."},
    "rules.hint.list_form": {
        "en": "Begin each item with “- ”, or write [a, b].",
        "ko": "항목마다 ‘- ’로 시작하거나 [a, b]로 쓰세요.",
    },
    "rules.too_short": {"en": "The list must not be empty.", "ko": "목록이 비어 있으면 안 됩니다."},
    "rules.not_text": {"en": "This must be text, not {got}.", "ko": "글자여야 하는데 {got}입니다."},
    "rules.not_text_secret": {"en": "This must be text.", "ko": "글자여야 합니다."},
    "rules.hint.quote": {"en": "Put it in quotes.", "ko": "따옴표로 감싸세요."},
    "rules.empty_text": {"en": "This must not be empty.", "ko": "비어 있으면 안 됩니다."},
    "rules.not_scalar": {
        "en": "This must be a single value to compare with, not {got}.",
        "ko": "비교할 값 하나여야 하는데 {got}입니다.",
    },
    "rules.not_choice": {
        "en": "“{got}” is not one of: {choices}.",
        "ko": "‘{got}’은(는) 다음 중 하나가 아닙니다: {choices}.",
    },
    "rules.not_flag": {"en": "This must be true or false, not {got}.", "ko": "true 또는 false여야 하는데 {got}입니다."},
    "rules.not_true": {"en": "The only value here is true, not {got}.", "ko": "true만 쓸 수 있는데 {got}입니다."},
    "rules.bad_version": {
        "en": "This program reads version 1 of the grammar, not {got}.",
        "ko": "이 프로그램은 문법 버전 1만 읽습니다. {got}은(는) 읽지 못합니다.",
    },
    "rules.hint.version_form": {"en": "Write “version: 1”.", "ko": "‘version: 1’로 쓰세요."},
    # --- numbers ---
    "rules.not_amount": {
        "en": "“{got}” is not an amount.",
        "ko": "‘{got}’은(는) 금액이나 수량이 아닙니다.",
    },
    "rules.hint.amount_form": {
        "en": "Write a plain number such as 15000, 0.5 or 0.000002, without a currency and with at most 18 digits on "
        "each side of the point.",
        "ko": "15000, 0.5, 0.000002처럼 숫자만 쓰세요. 통화는 붙이지 않고, 소수점 앞뒤는 각각 18자리까지입니다.",
    },
    "rules.negative": {"en": "The amount must be 0 or more, not {got}.", "ko": "0 이상이어야 하는데 {got}입니다."},
    "rules.not_positive": {"en": "The number must be more than 0, not {got}.", "ko": "0보다 커야 하는데 {got}입니다."},
    "rules.not_whole": {
        "en": "This must be a whole number of at least 1, not {got}.",
        "ko": "1 이상의 정수여야 하는데 {got}입니다.",
    },
    "rules.not_percent": {
        "en": "“{got}” is not a percentage above 0 and up to 100.",
        "ko": "‘{got}’은(는) 0보다 크고 100 이하인 백분율이 아닙니다.",
    },
    "rules.hint.percent_form": {
        "en": "Write 95, 95% or 99.5, with at most two decimals.",
        "ko": "95, 95%, 99.5처럼 소수 둘째 자리까지 쓰세요.",
    },
    "rules.not_vat": {
        "en": "“{got}” is not a share from 0 to below 1.",
        "ko": "‘{got}’은(는) 0 이상 1 미만의 비율이 아닙니다.",
    },
    "rules.hint.vat_form": {"en": "Write 0.1 or 10%.", "ko": "0.1 또는 10%로 쓰세요."},
    "rules.limit_large": {
        "en": "A limit of {got} is more than can be counted exactly.",
        "ko": "한도 {got}은(는) 정확히 셀 수 있는 범위를 넘습니다.",
    },
    # --- words ---
    "rules.bad_name": {
        "en": "“{got}” cannot be a name.",
        "ko": "‘{got}’은(는) 이름으로 쓸 수 없습니다.",
    },
    "rules.hint.name_form": {
        "en": "Use letters a–z, digits, “.”, “_” and “-”, at most 64 of them, beginning with a letter or digit.",
        "ko": "영문자, 숫자, ‘.’, ‘_’, ‘-’로 64자까지, 영문자나 숫자로 시작하세요.",
    },
    "rules.bad_header": {
        "en": "“{got}” cannot be the name of a header.",
        "ko": "‘{got}’은(는) 헤더 이름이 될 수 없습니다.",
    },
    "rules.bad_method": {"en": "“{got}” is not a request method.", "ko": "‘{got}’은(는) 요청 메서드가 아닙니다."},
    "rules.bad_currency": {
        "en": "“{got}” is not a currency code.",
        "ko": "‘{got}’은(는) 통화 코드가 아닙니다.",
    },
    "rules.hint.currency_form": {
        "en": "Use three capital letters of ISO 4217, such as KRW or USD.",
        "ko": "KRW, USD처럼 ISO 4217의 대문자 세 글자를 쓰세요.",
    },
    "rules.bad_timezone": {"en": "“{got}” is not a time zone.", "ko": "‘{got}’은(는) 시간대가 아닙니다."},
    "rules.hint.timezone_form": {
        "en": "Use a name of the IANA list, such as Asia/Seoul or UTC.",
        "ko": "Asia/Seoul, UTC처럼 IANA 목록의 이름을 쓰세요.",
    },
    "rules.bad_date": {"en": "“{got}” is not a date.", "ko": "‘{got}’은(는) 날짜가 아닙니다."},
    "rules.hint.date_form": {"en": "Write 2026-01-31.", "ko": "2026-01-31처럼 쓰세요."},
    "rules.bad_duration": {"en": "“{got}” is not a length of time.", "ko": "‘{got}’은(는) 시간 길이가 아닙니다."},
    "rules.bad_duration_range": {
        "en": "“{got}” must be more than nothing and at most 30 days.",
        "ko": "‘{got}’은(는) 0보다 길고 30일 이하여야 합니다.",
    },
    "rules.hint.duration_form": {
        "en": "Write a number and a unit: 500ms, 10s, 5m, 1h or 1d.",
        "ko": "숫자와 단위를 쓰세요: 500ms, 10s, 5m, 1h, 1d.",
    },
    "rules.bad_period": {"en": "“{got}” is not a period.", "ko": "‘{got}’은(는) 기간이 아닙니다."},
    "rules.hint.period_form": {
        "en": "Use hour, day, week, month, year, or a number of days such as “30 days”.",
        "ko": "hour, day, week, month, year 또는 ‘30 days’처럼 쓰세요.",
    },
    "rules.bad_clock": {"en": "“{got}” is not a time of day.", "ko": "‘{got}’은(는) 시각이 아닙니다."},
    "rules.hint.clock_form": {
        "en": 'Write it as "22:00", in quotes.',
        "ko": '따옴표와 함께 "22:00"처럼 쓰세요.',
    },
    "rules.times_empty": {
        "en": "This time ends when it begins, so it never holds.",
        "ko": "시작과 끝이 같아서 적용되는 때가 없습니다.",
    },
    "rules.bad_status": {"en": "“{got}” is not a response status.", "ko": "‘{got}’은(는) 응답 상태 코드가 아닙니다."},
    "rules.hint.status_form": {
        "en": "Write 2xx, 200, 200-299, any, or a list such as [2xx, 404].",
        "ko": "2xx, 200, 200-299, any 또는 [2xx, 404] 같은 목록으로 쓰세요.",
    },
    "rules.bad_rounding": {"en": "“{got}” is not a rounding.", "ko": "‘{got}’은(는) 반올림 방식이 아닙니다."},
    "rules.hint.rounding_form": {
        "en": "Write “up to 0.01”, “half_up to 1”, “down to 10”, or {{to: 0.01, mode: up}}.",
        "ko": "‘up to 0.01’, ‘half_up to 1’, ‘down to 10’ 또는 {{to: 0.01, mode: up}}으로 쓰세요.",
    },
    "rules.bad_rate_limit": {"en": "“{got}” is not a rate limit.", "ko": "‘{got}’은(는) 요청 제한이 아닙니다."},
    "rules.hint.rate_limit_form": {
        "en": "Write 60/minute, 100000 tokens/minute, 500 KRW/hour or 8 concurrent.",
        "ko": "60/minute, 100000 tokens/minute, 500 KRW/hour, 8 concurrent처럼 쓰세요.",
    },
    "rules.limit_twice": {
        "en": "There are two limits on {got}; the lower one would always win.",
        "ko": "{got} 제한이 두 번 나옵니다. 항상 낮은 쪽만 효력이 있습니다.",
    },
    "rules.limit_range": {
        "en": "A limit of {got} cannot be counted: it is too small, or above {most}.",
        "ko": "{got} 제한은 셀 수 없습니다. 너무 작거나 {most}보다 큽니다.",
    },
    "rules.queue_without_wait": {
        "en": "“queue” says how many calls may wait, but none may.",
        "ko": "‘queue’는 대기할 수 있는 호출 수인데, 대기가 허용되어 있지 않습니다.",
    },
    "rules.hint.give_wait": {"en": "Add “wait: 5s”.", "ko": "‘wait: 5s’를 추가하세요."},
    "rules.wait_without_limits": {
        "en": "There is nothing to wait for: no rate limits are given here.",
        "ko": "여기에 요청 제한이 없어 기다릴 것이 없습니다.",
    },
    "rules.hint.give_limits": {
        "en": "Add “rate_limits”, or remove “wait”.",
        "ko": "‘rate_limits’를 추가하거나 ‘wait’를 지우세요.",
    },
    "rules.breaker_without_reason": {
        "en": "This circuit breaker has no reason to open.",
        "ko": "이 회로 차단기에는 열릴 조건이 없습니다.",
    },
    "rules.hint.breaker_reasons": {
        "en": "Add “failures: 50%”, “consecutive: 5” or “slow: {{over: 5s, share: 50%}}”.",
        "ko": "‘failures: 50%’, ‘consecutive: 5’ 또는 ‘slow: {{over: 5s, share: 50%}}’를 추가하세요.",
    },
    "rules.open_at_most_short": {
        "en": "{got} is shorter than “open_for” ({bound}).",
        "ko": "{got}은(는) ‘open_for’({bound})보다 짧습니다.",
    },
    "rules.bad_test": {"en": "“{got}” is not a test on a value.", "ko": "‘{got}’은(는) 값을 검사하는 방법이 아닙니다."},
    "rules.hint.test_form": {
        "en": 'Write a value, a list of values, "~regex", or one of {{equals: …}}, {{matches: …}}, {{present: true}}.',
        "ko": '값, 값의 목록, "~정규식" 또는 {{equals: …}}, {{matches: …}}, {{present: true}} 중 하나로 쓰세요.',
    },
    "rules.regex_in_list": {
        "en": "A list of values to compare with cannot contain a “~regex”.",
        "ko": "비교할 값의 목록에는 ‘~정규식’을 넣을 수 없습니다.",
    },
    "rules.hint.regex_in_list": {
        "en": 'Use one regular expression: "~^(a|b)".',
        "ko": '정규식 하나로 쓰세요: "~^(a|b)".',
    },
    # --- patterns and expressions ---
    "rules.pattern_long": {"en": "The pattern is longer than 500 characters.", "ko": "패턴이 500자보다 깁니다."},
    "rules.hint.pattern_long_hint": {"en": "Use a list of shorter ones.", "ko": "짧은 패턴의 목록으로 쓰세요."},
    "rules.glob_start": {
        "en": "The path pattern “{got}” must begin with “/”.",
        "ko": "경로 패턴 ‘{got}’은(는) ‘/’로 시작해야 합니다.",
    },
    "rules.hint.glob_start_hint": {
        "en": "Write /{got}; a regular expression begins with “~”.",
        "ko": "/{got}로 쓰세요. 정규식은 ‘~’로 시작합니다.",
    },
    "rules.glob_question": {
        "en": "The path pattern “{got}” contains “?” or “#”, which are never part of a path.",
        "ko": "경로 패턴 ‘{got}’에 경로가 될 수 없는 ‘?’나 ‘#’이 있습니다.",
    },
    "rules.hint.glob_question_hint": {
        "en": "Test query parameters with “query: {{name: value}}”.",
        "ko": "쿼리 값은 ‘query: {{이름: 값}}’으로 검사하세요.",
    },
    "rules.glob_character": {
        "en": "The path pattern “{got}” contains a space, bracket, brace or backslash.",
        "ko": "경로 패턴 ‘{got}’에 공백, 괄호 또는 역슬래시가 있습니다.",
    },
    "rules.hint.glob_character_hint": {
        "en": 'Use a list of patterns, or a regular expression: "~^/v1/(a|b)$".',
        "ko": '패턴 목록이나 정규식을 쓰세요: "~^/v1/(a|b)$".',
    },
    "rules.glob_stars": {
        "en": "The path pattern “{got}” has too many stars.",
        "ko": "경로 패턴 ‘{got}’에 별표가 너무 많습니다.",
    },
    "rules.hint.glob_stars_hint": {
        "en": "“*” stands for part of a segment, “**” for any number of segments.",
        "ko": "‘*’는 한 마디의 일부, ‘**’는 여러 마디를 뜻합니다.",
    },
    "rules.glob_percent": {
        "en": "The path pattern “{got}” has a “%” without two hexadecimal digits.",
        "ko": "경로 패턴 ‘{got}’의 ‘%’ 뒤에 16진수 두 자리가 없습니다.",
    },
    "rules.hint.glob_percent_hint": {"en": "A “%” itself is %25.", "ko": "‘%’ 자체는 %25로 씁니다."},
    "rules.glob_dots": {
        "en": "The path pattern “{got}” has a “.” or “..” segment, and such requests are refused.",
        "ko": "경로 패턴 ‘{got}’에 ‘.’ 또는 ‘..’ 마디가 있습니다. 그런 요청은 거절됩니다.",
    },
    "rules.hint.glob_dots_hint": {"en": "Write the path that is meant.", "ko": "실제 경로를 쓰세요."},
    "rules.host_pattern": {"en": "“{got}” is not a host pattern.", "ko": "‘{got}’은(는) 호스트 패턴이 아닙니다."},
    "rules.hint.host_pattern_hint": {
        "en": 'Write api.example.com, *.example.com or "~regex".',
        "ko": 'api.example.com, *.example.com 또는 "~정규식"으로 쓰세요.',
    },
    "rules.regex_wrong": {
        "en": "“{got}” is not a regular expression: {detail}.",
        "ko": "‘{got}’은(는) 정규식이 아닙니다: {detail}.",
    },
    "rules.hint.regex_wrong_hint": {
        "en": 'Escape special characters with “\\”, as in "~\\.json$".',
        "ko": '특수 문자는 ‘\\’로 표시하세요. 예: "~\\.json$".',
    },
    "rules.regex_slow": {
        "en": "Some text would make the regular expression “{got}” take very long.",
        "ko": "어떤 글자에서는 정규식 ‘{got}’의 계산이 매우 오래 걸릴 수 있습니다.",
    },
    "rules.hint.regex_slow_hint": {
        "en": "Avoid repeats inside repeats, several “.*”, and references back; begin with “^”.",
        "ko": "반복 안의 반복, 여러 개의 ‘.*’, 역참조를 피하고 ‘^’로 시작하세요.",
    },
    "rules.bad_jmespath": {
        "en": "“{got}” is not a JMESPath expression.",
        "ko": "‘{got}’은(는) JMESPath 식이 아닙니다.",
    },
    "rules.hint.jmespath_form": {
        "en": "Write model, messages[0].role, or a name in quotes: '\"odd-name\"'.",
        "ko": "model, messages[0].role 또는 따옴표로 감싼 이름 '\"odd-name\"'으로 쓰세요.",
    },
    "rules.expression_long": {"en": "The expression is longer than 500 characters.", "ko": "식이 500자보다 깁니다."},
    "rules.hint.expression_long_hint": {"en": "Make it shorter.", "ko": "더 짧게 쓰세요."},
    "rules.expression_deep": {
        "en": "The expression is nested too deep at character {column}.",
        "ko": "식의 {column}번째 글자에서 괄호가 너무 깊게 겹칩니다.",
    },
    "rules.hint.expression_deep_hint": {"en": "Use fewer parentheses.", "ko": "괄호를 줄이세요."},
    "rules.expression_character": {
        "en": "The expression has “{got}” at character {column}, which means nothing there.",
        "ko": "식의 {column}번째 글자 ‘{got}’은(는) 뜻이 없습니다.",
    },
    "rules.hint.expression_character_hint": {
        "en": "Use numbers, names, text in quotes and + - * / // % ** ( ) [ ] . ,",
        "ko": "숫자, 이름, 따옴표로 감싼 글자와 + - * / // % ** ( ) [ ] . , 를 쓰세요.",
    },
    "rules.expression_unexpected": {
        "en": "The expression has “{got}” at character {column}, where something else should stand.",
        "ko": "식의 {column}번째 글자 ‘{got}’ 자리에는 다른 것이 와야 합니다.",
    },
    "rules.hint.expression_unexpected_hint": {
        "en": "An example: length(request.to) * ceil(len(request.text) / 70)",
        "ko": "예: length(request.to) * ceil(len(request.text) / 70)",
    },
    "rules.expression_expected": {
        "en": "The expression needs “{got}” at character {column}.",
        "ko": "식의 {column}번째 글자에 ‘{got}’이(가) 있어야 합니다.",
    },
    "rules.hint.expression_expected_hint": {
        "en": "Look for an unclosed parenthesis or bracket.",
        "ko": "닫지 않은 괄호가 있는지 보세요.",
    },
    "rules.expression_end": {
        "en": "The expression ends too early, at character {column}.",
        "ko": "식이 {column}번째 글자에서 너무 일찍 끝납니다.",
    },
    "rules.hint.expression_end_hint": {
        "en": "A number, a name or a parenthesis should follow.",
        "ko": "숫자, 이름 또는 괄호가 이어져야 합니다.",
    },
    "rules.expression_chain": {
        "en": "The expression compares twice in a row at character {column}.",
        "ko": "식의 {column}번째 글자에서 비교를 연달아 두 번 합니다.",
    },
    "rules.hint.expression_chain_hint": {
        "en": "Join comparisons with “and”: a < b and b < c.",
        "ko": "비교는 and로 이으세요: a < b and b < c.",
    },
    "rules.expression_root": {
        "en": "The expression knows no “{got}” (character {column}).",
        "ko": "식에는 ‘{got}’이라는 값이 없습니다({column}번째 글자).",
    },
    "rules.expression_call": {
        "en": "The expression knows no function “{got}” (character {column}).",
        "ko": "식에는 ‘{got}’이라는 함수가 없습니다({column}번째 글자).",
    },
    "rules.expression_function": {
        "en": "“{got}” at character {column} is a function.",
        "ko": "{column}번째 글자의 ‘{got}’은(는) 함수입니다.",
    },
    "rules.hint.expression_function_hint": {"en": "Write {got}(…).", "ko": "{got}(…)으로 쓰세요."},
    "rules.expression_arguments": {
        "en": "The function “{got}” at character {column} has too few or too many arguments.",
        "ko": "{column}번째 글자의 함수 ‘{got}’에 값이 모자라거나 많습니다.",
    },
    "rules.hint.expression_arguments_hint": {
        "en": "Most functions take one: {got}(request.text).",
        "ko": "대부분의 함수는 하나를 받습니다: {got}(request.text).",
    },
    "rules.expression_subscript": {
        "en": "The expression has “{got}” between brackets at character {column}.",
        "ko": "식의 {column}번째 글자, 대괄호 안에 ‘{got}’이(가) 있습니다.",
    },
    "rules.hint.expression_subscript_hint": {
        "en": "Between brackets stands a number, a name in quotes, or *.",
        "ko": "대괄호 안에는 숫자, 따옴표로 감싼 이름 또는 *를 쓰세요.",
    },
    "rules.needs_max_count": {
        "en": "The count depends on {got}, which is known only after the call, so nothing bounds the reservation.",
        "ko": "호출이 끝나야 아는 {got}에 따라 수량이 정해지므로 미리 잡을 금액의 상한이 없습니다.",
    },
    "rules.hint.give_max_count": {
        "en": "Give max_count: the most units that one call can have.",
        "ko": "max_count에 한 호출의 최대 수량을 쓰세요.",
    },
    # --- names and references ---
    "rules.twice_budget": {
        "en": "There is a budget “{got}” already, at {first}.",
        "ko": "예산 ‘{got}’이(가) 이미 {first}에 있습니다.",
    },
    "rules.twice_caller": {
        "en": "There is a caller “{got}” already, at {first}.",
        "ko": "호출자 ‘{got}’이(가) 이미 {first}에 있습니다.",
    },
    "rules.twice_api": {
        "en": "There is an API “{got}” already, at {first}.",
        "ko": "API ‘{got}’이(가) 이미 {first}에 있습니다.",
    },
    "rules.twice_rule": {
        "en": "There is a rule “{got}” in this API already, at {first}.",
        "ko": "이 API의 {first}에 규칙 ‘{got}’이(가) 이미 있습니다.",
    },
    "rules.twice_mount": {
        "en": "The mount “{got}” is taken already, at {first}.",
        "ko": "경로 ‘{got}’은(는) 이미 {first}에서 쓰고 있습니다.",
    },
    "rules.twice_host": {
        "en": "The host “{got}” belongs to an API already, at {first}.",
        "ko": "호스트 ‘{got}’은(는) 이미 {first}의 API에 속합니다.",
    },
    "rules.hint.give_other_name": {"en": "Give each its own.", "ko": "서로 다르게 쓰세요."},
    "rules.unknown_api": {"en": "There is no API “{got}”.", "ko": "API ‘{got}’이(가) 없습니다."},
    "rules.unknown_rule": {"en": "There is no rule “{got}”.", "ko": "규칙 ‘{got}’이(가) 없습니다."},
    "rules.unknown_caller": {"en": "There is no caller “{got}”.", "ko": "호출자 ‘{got}’이(가) 없습니다."},
    "rules.unknown_catalog": {
        "en": "The price catalogue knows no provider “{got}”.",
        "ko": "가격 목록에 ‘{got}’이라는 공급자가 없습니다.",
    },
    "rules.unreachable": {
        "en": "This rule can never be reached: {earlier} takes every call that it could match.",
        "ko": "이 규칙에는 결코 이르지 않습니다. 맞는 호출을 모두 {earlier}이(가) 먼저 가져갑니다.",
    },
    "rules.hint.move_up": {
        "en": "Put the narrower rule first, or remove this one.",
        "ko": "더 좁은 규칙을 앞에 두거나 이 규칙을 지우세요.",
    },
    # --- money ---
    "rules.no_rate": {
        "en": "There is no exchange rate from {got} to {own}.",
        "ko": "{got}을(를) {own}으로 바꿀 환율이 없습니다.",
    },
    "rules.hint.give_rate": {
        "en": "Add it at the top: fx: {{{got}: 1390}}.",
        "ko": "파일 위쪽에 추가하세요: fx: {{{got}: 1390}}.",
    },
    "rules.fx_own": {
        "en": "{got} is the file's own currency and needs no exchange rate.",
        "ko": "{got}은(는) 이 파일의 통화이므로 환율이 필요 없습니다.",
    },
    "rules.fx_empty": {"en": "There is no exchange rate for {got}.", "ko": "{got}의 환율이 없습니다."},
    "rules.fx_day_twice": {
        "en": "There are two exchange rates from {got} on.",
        "ko": "{got}부터의 환율이 두 번 있습니다.",
    },
    "rules.warn_order": {
        "en": "The warning at {got} would come at or after “restrict” at {bound}.",
        "ko": "{got} 경고가 {bound}의 ‘restrict’와 같거나 그 뒤에 옵니다.",
    },
    "rules.restrict_order": {
        "en": "“restrict” at {got} would come after “stop” at {bound}.",
        "ko": "{got}의 ‘restrict’가 {bound}의 ‘stop’ 뒤에 옵니다.",
    },
    "rules.hint.order": {
        "en": "The order is: warn below restrict, restrict not above stop.",
        "ko": "순서: warn은 restrict보다 작고, restrict는 stop보다 크지 않아야 합니다.",
    },
    "rules.hint.limit_form": {"en": "The most is {most}.", "ko": "최대는 {most}입니다."},
    "rules.no_price": {"en": "This rule has no price.", "ko": "이 규칙에는 가격이 없습니다."},
    "rules.hint.price_kinds": {"en": "Give one of: {known}.", "ko": "다음 중 하나를 쓰세요: {known}."},
    "rules.free_and": {
        "en": "A free rule cannot have “{got}” too.",
        "ko": "무료 규칙에는 ‘{got}’을(를) 함께 쓸 수 없습니다.",
    },
    "rules.hint.free_or": {"en": "Remove “free” or “{got}”.", "ko": "‘free’와 ‘{got}’ 중 하나를 지우세요."},
    "rules.catalog_and": {
        "en": "“{got}” and “catalog” both price tokens.",
        "ko": "‘{got}’과 ‘catalog’가 모두 토큰 가격을 정합니다.",
    },
    "rules.hint.catalog_or": {"en": "Remove one of them.", "ko": "하나를 지우세요."},
    "rules.catalog_currency": {
        "en": "The catalogue's prices are in USD, not {got}.",
        "ko": "가격 목록의 통화는 {got}이(가) 아니라 USD입니다.",
    },
    "rules.tiers_and": {
        "en": "“{got}” and the steps of “tiers” both give the price.",
        "ko": "‘{got}’과 ‘tiers’의 단계가 모두 가격을 정합니다.",
    },
    "rules.hint.tiers_or": {"en": "Remove “{got}”.", "ko": "‘{got}’을(를) 지우세요."},
    "rules.units_without": {
        "en": "Units are counted by exactly one “per_unit”, and this rule has none or several.",
        "ko": "단위는 ‘per_unit’ 하나로 세는데, 이 규칙에는 없거나 여럿입니다.",
    },
    "rules.hint.units_need": {
        "en": "Add “per_unit: {{count: …}}”, or count requests.",
        "ko": "‘per_unit: {{count: …}}’을 추가하거나 requests로 세세요.",
    },
    "rules.step_open": {
        "en": "Only the last step may be without “up_to”.",
        "ko": "‘up_to’는 마지막 단계에서만 뺄 수 있습니다.",
    },
    "rules.step_last": {
        "en": "The last step must have no “up_to”: something must be the price beyond it.",
        "ko": "마지막 단계에는 ‘up_to’가 없어야 합니다. 그 뒤의 가격이 있어야 하기 때문입니다.",
    },
    "rules.step_order": {
        "en": "The step up to {got} does not come after the one up to {before}.",
        "ko": "{got}까지의 단계가 {before}까지의 단계보다 뒤가 아닙니다.",
    },
    "rules.hint.step_form": {
        "en": "Write steps: [{{up_to: 1000, price: 2}}, {{price: 1}}].",
        "ko": "steps: [{{up_to: 1000, price: 2}}, {{price: 1}}]처럼 쓰세요.",
    },
    "rules.free_tier_one": {
        "en": "A free tier counts either requests or units.",
        "ko": "무료 사용량은 requests와 units 중 하나로 셉니다.",
    },
    "rules.hint.free_tier_form": {
        "en": "Write {{requests: 1000, per: month}}.",
        "ko": "{{requests: 1000, per: month}}처럼 쓰세요.",
    },
    "rules.price_empty": {"en": "“{got}” has no price in it.", "ko": "‘{got}’에 가격이 없습니다."},
    "rules.hint.price_parts": {"en": "Give at least one of: {known}.", "ko": "하나 이상 쓰세요: {known}."},
    # --- addresses ---
    "rules.bad_upstream": {
        "en": "“{got}” is not the address of an API.",
        "ko": "‘{got}’은(는) API 주소가 아닙니다.",
    },
    "rules.hint.upstream_form": {
        "en": "Write https://api.example.com or http://host:8000/path.",
        "ko": "https://api.example.com 또는 http://host:8000/path처럼 쓰세요.",
    },
    "rules.upstream_query": {
        "en": "The address “{got}” must have no query, fragment or special characters.",
        "ko": "주소 ‘{got}’에는 쿼리, 프래그먼트, 특수 문자가 없어야 합니다.",
    },
    "rules.upstream_userinfo": {
        "en": "The address must not contain a user or password.",
        "ko": "주소에 사용자 이름이나 비밀번호를 넣으면 안 됩니다.",
    },
    "rules.hint.use_credentials": {
        "en": 'Set a header instead: credentials: {{header: Authorization, value: "Basic ${{NAME}}"}}.',
        "ko": '대신 헤더로 쓰세요: credentials: {{header: Authorization, value: "Basic ${{NAME}}"}}.',
    },
    "rules.bad_host": {"en": "“{got}” is not a host name.", "ko": "‘{got}’은(는) 호스트 이름이 아닙니다."},
    "rules.hint.host_form": {
        "en": "Write api.example.com, *.example.com or host:8443, without http:// and path.",
        "ko": "http://와 경로 없이 api.example.com, *.example.com, host:8443처럼 쓰세요.",
    },
    "rules.bad_mount": {"en": "“{got}” cannot be a mount.", "ko": "‘{got}’은(는) 경로 이름이 될 수 없습니다."},
    "rules.hint.mount_form": {
        "en": "Use one path segment of letters, digits, “.”, “_” and “-”.",
        "ko": "영문자, 숫자, ‘.’, ‘_’, ‘-’로 된 경로 한 마디를 쓰세요.",
    },
    # --- secrets ---
    "rules.env_missing": {
        "en": "The environment variable {got} is not set.",
        "ko": "환경 변수 {got}이(가) 없습니다.",
    },
    "rules.env_empty": {"en": "The environment variable {got} is empty.", "ko": "환경 변수 {got}이(가) 비어 있습니다."},
    "rules.hint.env_set": {
        "en": "Set it where the proxy starts: export {got}=…",
        "ko": "프록시를 시작하는 곳에서 설정하세요: export {got}=…",
    },
    "rules.hint.env_did_you_mean": {
        "en": "Did you mean {meant}? Otherwise: export {got}=…",
        "ko": "{meant}을(를) 뜻했나요? 아니면: export {got}=…",
    },
    "rules.bad_env_name": {
        "en": "This is not the name of an environment variable.",
        "ko": "환경 변수의 이름이 아닙니다.",
    },
    "rules.hint.env_name_form": {
        "en": "Write its name alone, such as BATCH_KEY; the key itself never stands in this file.",
        "ko": "BATCH_KEY처럼 이름만 쓰세요. 키 자체는 이 파일에 쓰지 않습니다.",
    },
    "rules.literal_key": {
        "en": "A caller's key must not stand in this file.",
        "ko": "호출자의 키를 이 파일에 쓰면 안 됩니다.",
    },
    "rules.hint.caller_key": {
        "en": 'Write key_env: NAME or key: "${{NAME}}", and set the variable.',
        "ko": 'key_env: NAME 또는 key: "${{NAME}}"으로 쓰고 그 변수를 설정하세요.',
    },
    "rules.caller_no_key": {"en": "This caller has no key.", "ko": "이 호출자에게는 키가 없습니다."},
    "rules.caller_two_keys": {
        "en": "This caller has both “key_env” and “key”.",
        "ko": "이 호출자에게 ‘key_env’와 ‘key’가 모두 있습니다.",
    },
    "rules.same_key": {
        "en": "The callers “{other}” and “{got}” have the same key.",
        "ko": "호출자 ‘{other}’와 ‘{got}’의 키가 같습니다.",
    },
    "rules.hint.give_other_key": {
        "en": "Give each its own, so that they can be told apart.",
        "ko": "구별할 수 있도록 서로 다른 키를 쓰세요.",
    },
    "rules.key_characters": {
        "en": "The key in {name} contains a space or a control character.",
        "ko": "{name}의 키에 공백이나 제어 문자가 있습니다.",
    },
    "rules.bad_reference": {
        "en": "A reference to an environment variable is not well-formed.",
        "ko": "환경 변수를 가리키는 표기가 올바르지 않습니다.",
    },
    "rules.hint.reference_form": {
        "en": "Write ${{NAME}} with letters, digits and “_”.",
        "ko": "영문자, 숫자, ‘_’로 ${{NAME}}처럼 쓰세요.",
    },
    "rules.credential_characters": {
        "en": "The value contains a line break or another character that no header can carry.",
        "ko": "헤더에 넣을 수 없는 줄바꿈 같은 문자가 값에 있습니다.",
    },
    "rules.header_twice": {"en": "The header “{got}” is set twice.", "ko": "헤더 ‘{got}’을(를) 두 번 설정합니다."},
    "rules.require_without_callers": {
        "en": "Keys are required, but no callers are declared.",
        "ko": "키를 요구하지만 선언된 호출자가 없습니다.",
    },
    "rules.hint.declare_callers": {
        "en": "Declare them under “callers”, or remove the key.",
        "ko": "‘callers’에 선언하거나 이 키를 지우세요.",
    },
    # --- the admin port ---
    "rules.twice_token": {
        "en": "The token “{got}” is declared twice.",
        "ko": "토큰 ‘{got}’이(가) 두 번 선언되었습니다.",
    },
    "rules.token_short": {
        "en": "The token in {name} has fewer than {least} characters.",
        "ko": "{name}에 든 토큰이 {least}자보다 짧습니다.",
    },
    "rules.token_characters": {
        "en": "The token in {name} contains a blank or a character outside ASCII.",
        "ko": "{name}에 든 토큰에 공백이나 ASCII가 아닌 문자가 있습니다.",
    },
    "rules.hint.token_form": {
        "en": "Make one with: openssl rand -hex 32.",
        "ko": "openssl rand -hex 32로 만들 수 있습니다.",
    },
    "rules.same_token": {
        "en": "“{got}” and “{other}” have the same token.",
        "ko": "‘{got}’와(과) ‘{other}’의 토큰이 같습니다.",
    },
    "rules.hint.give_other_token": {"en": "Give each its own.", "ko": "서로 다른 토큰을 주세요."},
    # --- services ---
    "rules.twice_service": {
        "en": "The service “{got}” is declared twice.",
        "ko": "서비스 ‘{got}’이(가) 두 번 선언되었습니다.",
    },
    "rules.unknown_service": {"en": "There is no service “{got}”.", "ko": "서비스 ‘{got}’이(가) 없습니다."},
    "rules.service_no_way": {
        "en": "The service says no way to stop it.",
        "ko": "서비스를 멈추는 방법이 없습니다.",
    },
    "rules.service_two_ways": {
        "en": "The service says more than one way to stop it.",
        "ko": "서비스를 멈추는 방법이 둘 이상입니다.",
    },
    "rules.hint.one_way": {"en": "Give exactly one of: {known}.", "ko": "다음 중 하나만 쓰세요: {known}."},
    "rules.service_circle": {
        "en": "The services depend on each other in a circle: {circle}.",
        "ko": "서비스들이 서로 맞물려 의존합니다: {circle}.",
    },
    "rules.hint.break_circle": {
        "en": "Remove one of these dependencies.",
        "ko": "이 의존 관계 중 하나를 지우세요.",
    },
    "rules.bad_url": {"en": "“{got}” is not a URL to call.", "ko": "‘{got}’은(는) 호출할 수 있는 URL이 아닙니다."},
    "rules.hint.url_form": {
        "en": "Write http://host:port/path or https://host/path, without a password.",
        "ko": "http://host:port/path 또는 https://host/path로, 비밀번호 없이 쓰세요.",
    },
    # --- not in this version ---
    "rules.needs_journal": {
        "en": "The policy “{got}” needs the journal, which this version does not have yet.",
        "ko": "‘{got}’ 방식에는 이 버전에 아직 없는 저널이 필요합니다.",
    },
    "rules.hint.use_deny": {"en": "Use deny until then.", "ko": "그때까지는 deny를 쓰세요."},
    "rules.no_apis": {
        "en": "No APIs are declared, so no call can pass.",
        "ko": "선언된 API가 없어서 통과할 수 있는 호출이 없습니다.",
    },
    "rules.no_budgets": {
        "en": "No budgets are declared: calls are priced and counted, but never refused.",
        "ko": "선언된 예산이 없습니다. 비용은 계산하지만 호출을 막지 않습니다.",
    },
    # --- why a rule did not match ---
    "match.earlier": {"en": "An earlier rule ({rule}) matched already.", "ko": "앞의 규칙({rule})이 이미 맞았습니다."},
    "match.bad_path": {
        "en": "The path has dot segments or a broken escape and is refused.",
        "ko": "경로에 점 마디나 잘못된 이스케이프가 있어 거절됩니다.",
    },
    "match.method": {
        "en": "The method is {method}, not {wanted}.",
        "ko": "메서드가 {wanted}이(가) 아니라 {method}입니다.",
    },
    "match.path": {"en": "The path {path} does not fit.", "ko": "경로 {path}이(가) 맞지 않습니다."},
    "match.host": {"en": "The host {host} does not fit.", "ko": "호스트 {host}이(가) 맞지 않습니다."},
    "match.field": {
        "en": "The test on {place} “{name}” does not hold.",
        "ko": "{place} ‘{name}’ 검사를 통과하지 못했습니다.",
    },
    "match.websocket": {
        "en": "Its price is not meant for a WebSocket, through which any number of calls may pass.",
        "ko": "호출이 몇 번이든 지나갈 수 있는 WebSocket에 맞는 가격이 아닙니다.",
    },
    "match.no_websocket": {"en": "It is meant for WebSockets alone.", "ko": "WebSocket만을 위한 규칙입니다."},
    "match.tunnel": {
        "en": "Of a tunnel only host and port are seen: a rule for it looks at nothing else, and names the method CONNECT or "
        "has per_connection or per_kb.",
        "ko": "터널에서는 호스트와 포트만 보입니다. 터널에 맞는 규칙은 그 밖의 것을 보지 않으며, CONNECT 메서드를 지정하거나 "
        "per_connection 또는 per_kb 가격을 가져야 합니다.",
    },
}
