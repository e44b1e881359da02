"""What the commands say besides their help pages: results, failures and what to do about them."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    # --- failures of the command line itself
    "cli.error.internal": {
        "en": "something went wrong inside spendgate ({what}).",
        "ko": "spendgate 내부에서 문제가 생겼습니다 ({what}).",
    },
    "cli.error.internal_hint": {
        "en": "Run it again with SPENDGATE_DEBUG=1 to see the details, and please report them.",
        "ko": "SPENDGATE_DEBUG=1을 붙여 다시 실행하면 자세한 내용이 나옵니다. 그 내용을 알려 주세요.",
    },
    "cli.error.no_such_option": {"en": "there is no option {name}.", "ko": "{name} 옵션은 없습니다."},
    "cli.error.no_such_command": {"en": "there is no command “{name}”.", "ko": "‘{name}’ 명령은 없습니다."},
    "cli.error.did_you_mean": {"en": "Did you mean {name}?", "ko": "혹시 {name}인가요?"},
    "cli.error.missing": {"en": "{name} is missing.", "ko": "{name} 값이 빠졌습니다."},
    "cli.error.bad_value": {"en": "{name}: {why}", "ko": "{name} 값을 쓸 수 없습니다: {why}"},
    "cli.error.usage_hint": {
        "en": "Read “{command} --help”.",
        "ko": "‘{command} --help’를 읽어 보세요.",
    },
    "cli.error.setting": {
        "en": "{name} cannot be “{value}”. {remedy}",
        "ko": "{name}에 ‘{value}’ 값은 쓸 수 없습니다. {remedy}",
    },
    "cli.error.unreadable": {"en": "cannot read {path}: {why}.", "ko": "{path} 파일을 읽을 수 없습니다: {why}."},
    "cli.error.unwritable": {"en": "cannot write {path}: {why}.", "ko": "{path} 파일을 쓸 수 없습니다: {why}."},
    "cli.error.too_large": {
        "en": "{path} is larger than {limit} MB.",
        "ko": "{path} 파일이 {limit} MB보다 큽니다.",
    },
    "cli.error.why.missing": {"en": "there is no such file", "ko": "그런 파일이 없습니다"},
    "cli.error.why.directory": {"en": "it is a folder", "ko": "폴더입니다"},
    "cli.error.why.permission": {"en": "permission denied", "ko": "권한이 없습니다"},
    "cli.error.why.other": {"en": "{detail}", "ko": "{detail}"},
    "cli.error.init_hint": {
        "en": "Write one with “spendgate init”, or name yours with --rules.",
        "ko": "‘spendgate init’으로 하나 만들거나 --rules로 파일을 지정해 주세요.",
    },
    "cli.error.rules_broken": {
        "en": "{path} has mistakes ({count}), so there are no rules to work with.",
        "ko": "{path} 파일에 잘못이 {count}개 있어 쓸 수 있는 규칙이 없습니다.",
    },
    "cli.error.rules_broken_hint": {
        "en": "Read them with “spendgate check {path}”.",
        "ko": "‘spendgate check {path}’로 확인해 주세요.",
    },
    "cli.error.store": {
        "en": "the store does not answer: {why}.",
        "ko": "저장소가 응답하지 않습니다: {why}.",
    },
    "cli.error.store_hint": {
        "en": "Is it running? Name it with --redis URL, or the embedded one's folder with --data DIR.",
        "ko": "실행 중인지 확인해 주세요. --redis URL로 저장소를, --data DIR로 내장 저장소의 폴더를 지정하세요.",
    },
    # --- check
    "cli.check.clean": {
        "en": "{source} is good. APIs: {apis}, prices: {rules}, budgets: {budgets} (hash {digest}).",
        "ko": "{source} 이상 없음: API {apis}개, 가격 {rules}개, 예산 {budgets}개 (해시 {digest}).",
    },
    "cli.check.mistakes": {
        "en": "{source}: mistakes: {mistakes}, warnings: {warnings}.",
        "ko": "{source}: 잘못 {mistakes}개, 경고 {warnings}개.",
    },
    "cli.check.warnings": {
        "en": "Warnings: {warnings}. The file works, but read the lines above.",
        "ko": "경고 {warnings}개: 파일은 쓸 수 있지만 위의 내용을 읽어 주세요.",
    },
    "cli.check.warning": {"en": "warning: ", "ko": "경고: "},
    # --- init
    "cli.init.exists": {
        "en": "{path} is already there, and it stays as it is.",
        "ko": "{path} 파일이 이미 있어 그대로 두었습니다.",
    },
    "cli.init.exists_hint": {
        "en": "Overwrite it with --force, or name another file.",
        "ko": "덮어쓰려면 --force를 붙이고, 아니면 다른 이름을 주세요.",
    },
    "cli.init.written": {"en": "Wrote {path} and {schema}.", "ko": "{path} 파일과 {schema} 파일을 만들었습니다."},
    "cli.init.next": {
        "en": "Next: edit it, then “{check}” and “{serve}”.",
        "ko": "다음: 파일을 고친 뒤 ‘{check}’와 ‘{serve}’를 실행하세요.",
    },
    # --- price
    "cli.price.nothing": {
        "en": "there is no call to price: give a URL, --request FILE or --exchange FILE.",
        "ko": "값을 매길 호출이 없습니다. URL이나 --request FILE, --exchange FILE을 주세요.",
    },
    "cli.price.bad_url": {
        "en": "“{url}” is not an http or https URL.",
        "ko": "‘{url}’은 http나 https 주소가 아닙니다.",
    },
    "cli.price.bad_header": {
        "en": "“{header}” is not a header: write “Name: value”.",
        "ko": "‘{header}’는 헤더가 아닙니다. ‘이름: 값’ 꼴로 써 주세요.",
    },
    "cli.price.bad_headers": {
        "en": "the headers are neither an object nor a list of pairs.",
        "ko": "headers가 객체도 쌍의 목록도 아닙니다.",
    },
    "cli.price.bad_json": {"en": "the file is not valid JSON.", "ko": "파일이 올바른 JSON이 아닙니다."},
    "cli.price.bad_base64": {"en": "{field} is not valid base64.", "ko": "{field} 값이 올바른 base64가 아닙니다."},
    "cli.price.bad_request": {
        "en": "the request does not begin with a line like “POST /v1/chat/completions HTTP/1.1”.",
        "ko": "요청이 ‘POST /v1/chat/completions HTTP/1.1’ 같은 줄로 시작하지 않습니다.",
    },
    "cli.price.bad_response": {
        "en": "the response does not begin with a line like “HTTP/1.1 200 OK”.",
        "ko": "응답이 ‘HTTP/1.1 200 OK’ 같은 줄로 시작하지 않습니다.",
    },
    "cli.price.bad_exchange": {
        "en": "an exchange needs at least host, method and path.",
        "ko": "호출 기록에는 적어도 host, method, path가 있어야 합니다.",
    },
    "cli.price.no_url": {"en": "the request has no url.", "ko": "요청에 url이 없습니다."},
    "cli.price.no_host": {
        "en": "the request has no Host header, so its API is unknown.",
        "ko": "요청에 Host 헤더가 없어 어느 API인지 알 수 없습니다.",
    },
    "cli.price.no_status": {"en": "the response has no status.", "ko": "응답에 status가 없습니다."},
    "cli.price.bad_time": {
        "en": "“{text}” is not a time: write it like 2026-11-23T09:30:00+09:00.",
        "ko": "‘{text}’는 시각이 아닙니다. 2026-11-23T09:30:00+09:00처럼 써 주세요.",
    },
    "cli.price.bad_number": {"en": "{name} cannot be “{text}”.", "ko": "{name}에 ‘{text}’ 값은 쓸 수 없습니다."},
    "cli.price.rules": {"en": "Rules of {api}, in order:", "ko": "{api}의 규칙, 위에서부터:"},
    "cli.price.no_api": {"en": "No API of the rules is at {host}.", "ko": "규칙에 {host} 주소의 API가 없습니다."},
    "cli.price.no_rule": {"en": "No rule covers this call to {host}.", "ko": "{host} 호출에 맞는 규칙이 없습니다."},
    "cli.price.denied": {
        "en": "The proxy would refuse it: 403 no_rule.",
        "ko": "프록시는 이 호출을 거절합니다: 403 no_rule.",
    },
    "cli.price.observed": {
        "en": "The proxy would pass it and record it as unpriced (unknown: observe).",
        "ko": "프록시는 이 호출을 통과시키고 가격 없음으로 기록합니다 (unknown: observe).",
    },
    "cli.price.estimate": {"en": "Before the call: {amount}, {basis}", "ko": "호출 전 예약: {amount}, {basis}"},
    "cli.price.basis.free": {"en": "because it is free", "ko": "무료이므로"},
    "cli.price.basis.exact": {"en": "exactly", "ko": "정확한 금액"},
    "cli.price.basis.worst_case": {"en": "at the most", "ko": "최대치"},
    "cli.price.basis.learned": {"en": "as such calls have shown", "ko": "지난 호출로 미루어"},
    "cli.price.rung": {
        "en": "From {percent} % of the budget on: {what}, then {amount}, {basis}.",
        "ko": "예산의 {percent} %부터: {what}, 그때는 {amount}, {basis}.",
    },
    "cli.price.rung_as_asked": {
        "en": "From {percent} % of the budget on: as asked, because nothing cheaper comes of it.",
        "ko": "예산의 {percent} %부터: 더 싸질 것이 없어 요청 그대로 보냅니다.",
    },
    "cli.price.rung_stale": {
        "en": "If there is a kept answer, even a stale one, it is given instead.",
        "ko": "보관된 응답이 있으면 오래되었더라도 그것으로 답합니다.",
    },
    "cli.price.quota": {
        "en": "{used} of the period's requests or units used before it (--used)",
        "ko": "이 기간에 앞서 쓴 요청 수 또는 단위: {used} (--used)",
    },
    "cli.price.actual": {"en": "Actual cost: {amount}", "ko": "실제 비용: {amount}"},
    "cli.price.sum": {"en": "sum", "ko": "합계"},
    "cli.price.rate": {"en": "exchange rate", "ko": "환율"},
    "cli.price.note": {"en": "note: {note}", "ko": "참고: {note}"},
    "cli.price.no_response": {
        "en": "Add --response FILE to see the actual cost.",
        "ko": "실제 비용을 보려면 --response FILE을 주세요.",
    },
    # --- run
    "cli.run.caller_needed": {
        "en": "the rules ask every program for a caller key: name one with --caller ({names}).",
        "ko": "규칙이 호출자 키를 요구합니다. --caller로 하나를 지정해 주세요 ({names}).",
    },
    "cli.run.no_caller": {
        "en": "the rules know no caller “{name}”, only: {names}.",
        "ko": "규칙에 ‘{name}’ 호출자가 없습니다. 있는 것: {names}.",
    },
    "cli.run.kept": {
        "en": "{name} stays {value}: no rule covers it, so those calls are neither priced nor limited.",
        "ko": "{name} 값 {value}는 그대로 둡니다. 맞는 규칙이 없어 그 호출은 값을 매기지도 제한하지도 않습니다.",
    },
    "cli.run.proxy_failed": {
        "en": "the proxy for this run could not start: {why}",
        "ko": "실행에 쓸 프록시를 시작하지 못했습니다: {why}",
    },
    "cli.run.proxy_slow": {
        "en": "the proxy for this run was not ready within {seconds} s.",
        "ko": "실행에 쓸 프록시가 {seconds}초 안에 준비되지 않았습니다.",
    },
    "cli.run.not_found": {"en": "there is no command {name}.", "ko": "{name} 명령을 찾을 수 없습니다."},
    "cli.run.not_executable": {"en": "cannot run {name}: {why}.", "ko": "{name} 명령을 실행할 수 없습니다: {why}."},
    "cli.run.nothing": {
        "en": "no call was counted during the run.",
        "ko": "실행하는 동안 집계된 호출이 없습니다.",
    },
    "cli.run.cost": {"en": "{calls} cost {amount}", "ko": "{calls}에 {amount}이 들었습니다"},
    "cli.run.line": {"en": "{calls}, {amount}", "ko": "{calls}에 {amount}"},
    "cli.run.call_one": {"en": "1 call", "ko": "호출 1건"},
    "cli.run.call_many": {"en": "{count} calls", "ko": "호출 {count}건"},
    "cli.run.unknown_cost": {
        "en": "what it cost cannot be read: {why}",
        "ko": "든 돈을 읽을 수 없습니다: {why}",
    },
    # --- states of a ledger entry
    "cli.state.settled": {"en": "settled", "ko": "확정"},
    "cli.state.estimated": {"en": "estimated", "ko": "추정"},
    "cli.state.unconfirmed": {"en": "unconfirmed", "ko": "미확인"},
    "cli.state.unpriced": {"en": "unpriced", "ko": "가격 없음"},
    # --- start page
    "cli.start.tagline": {
        "en": "paid calls go through here, and stop at the budget",
        "ko": "유료 호출은 이곳을 거치고, 예산에서 멈춥니다",
    },
    "cli.start.listen": {"en": "Proxy", "ko": "프록시"},
    "cli.start.admin": {"en": "Health", "ko": "상태 확인"},
    "cli.start.rules": {"en": "Rules", "ko": "규칙"},
    "cli.start.store": {"en": "Store", "ko": "저장소"},
    "cli.start.rules_value": {
        "en": "{path}, APIs: {apis}, hash {digest}",
        "ko": "{path}, API {apis}개, 해시 {digest}",
    },
    "cli.start.embedded": {"en": "embedded, in {place}", "ko": "내장, {place}"},
    "cli.start.workers": {"en": "{count} workers", "ko": "작업자 {count}개"},
    "cli.start.budgets": {"en": "Budgets", "ko": "예산"},
    "cli.start.no_budgets": {
        "en": "none yet: calls are priced and counted, but nothing is limited.",
        "ko": "아직 없습니다. 호출의 값을 매기고 세지만 제한하지 않습니다.",
    },
    "cli.start.more_budgets": {
        "en": "and {count} more: spendgate status",
        "ko": "그 밖에 {count}개: spendgate status",
    },
    "cli.start.resets": {"en": "resets {when}", "ko": "{when} 초기화"},
    "cli.start.paste": {"en": "Paste one of these", "ko": "하나를 골라 붙여 넣으세요"},
    "cli.start.redis": {"en": "Look inside", "ko": "안을 들여다보기"},
    "cli.start.stop": {
        "en": "Ctrl-C stops it; calls in flight finish first.",
        "ko": "Ctrl-C로 멈춥니다. 진행 중인 호출은 마치고 멈춥니다.",
    },
    # --- states of a budget
    "cli.budget.held": {"en": "{amount} held by calls in flight", "ko": "진행 중인 호출에 {amount} 예약됨"},
    "cli.budget.raised": {"en": "{amount} of the limit added for this period", "ko": "이번 기간에 {amount} 증액됨"},
    "cli.budget.ok": {"en": "ok", "ko": "정상"},
    "cli.budget.warning": {"en": "warning", "ko": "경고"},
    "cli.budget.restricted": {"en": "restricted", "ko": "제한"},
    "cli.budget.stopped": {"en": "stopped", "ko": "중단"},
}
