"""Help pages of the command line: one summary, one explanation and a few examples a command, one text an option.

Explanations are re-wrapped to the screen; examples are shown as they stand.
"""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.help.usage": {"en": "Usage:", "ko": "사용법:"},
    "cli.help.options": {"en": "Options:", "ko": "옵션:"},
    "cli.help.commands": {"en": "Commands:", "ko": "명령:"},
    "cli.help.examples": {"en": "Examples:", "ko": "예:"},
    "cli.help.options_placeholder": {"en": "[OPTIONS]", "ko": "[옵션]"},
    "cli.help.command_placeholder": {"en": "COMMAND [ARGS]...", "ko": "명령 [인자]..."},
    # --- root
    "cli.root.about": {
        "en": """spendgate stands between your programs and the paid APIs they call. It prices every call by
            rules.yaml, counts the money, and refuses calls when the budget is gone.""",
        "ko": """spendgate는 프로그램과 유료 API 사이에 서서 모든 호출에 rules.yaml대로 값을 매기고, 쓴 돈을 세고,
            예산이 떨어지면 호출을 거절합니다.""",
    },
    "cli.root.examples": {
        "en": """\
spendgate init                      write a commented rules.yaml
spendgate serve                     start the proxy on 127.0.0.1:8080
spendgate run -- python app.py      run a program through the proxy
spendgate status                    see where the money stands
spendgate COMMAND --help            read about one command""",
        "ko": """\
spendgate init                      설명이 달린 rules.yaml을 만듭니다
spendgate serve                     127.0.0.1:8080에서 프록시를 시작합니다
spendgate run -- python app.py      프로그램을 프록시를 거쳐 실행합니다
spendgate status                    예산이 어디까지 왔는지 봅니다
spendgate 명령 --help               명령 하나의 설명을 읽습니다""",
    },
    # --- serve
    "cli.serve.summary": {"en": "Start the proxy.", "ko": "프록시를 시작합니다."},
    "cli.serve.about": {
        "en": """Starts the proxy and, unless you name a Redis, its own store in the data folder. Prints a start
            page with lines to paste. Ctrl-C lets the calls in flight finish, then stops everything; the next start
            finds the same counters. Editing rules.yaml takes effect within a second; a file with mistakes changes
            nothing.

            Every option can also come from the environment: SPENDGATE_RULES, SPENDGATE_LISTEN, SPENDGATE_ADMIN,
            SPENDGATE_DATA, SPENDGATE_REDIS (or REDIS_URL), SPENDGATE_WORKERS, SPENDGATE_LOG_FORMAT,
            SPENDGATE_LOG_LEVEL, SPENDGATE_LEASE, SPENDGATE_DRAIN, SPENDGATE_STORE_TCP_PORT.""",
        "ko": """프록시를 시작합니다. Redis를 지정하지 않으면 데이터 폴더에 자체 저장소도 함께 띄웁니다. 붙여 넣을
            수 있는 안내를 보여 주고, Ctrl-C를 누르면 진행 중인 호출을 마친 뒤 모두 끝냅니다. 다시 시작해도 집계는
            그대로입니다. rules.yaml을 고치면 1초 안에 반영되고, 잘못된 파일은 아무것도 바꾸지 않습니다.

            모든 옵션은 환경 변수로도 줄 수 있습니다: SPENDGATE_RULES, SPENDGATE_LISTEN, SPENDGATE_ADMIN,
            SPENDGATE_DATA, SPENDGATE_REDIS (또는 REDIS_URL), SPENDGATE_WORKERS, SPENDGATE_LOG_FORMAT,
            SPENDGATE_LOG_LEVEL, SPENDGATE_LEASE, SPENDGATE_DRAIN, SPENDGATE_STORE_TCP_PORT.""",
    },
    "cli.serve.examples": {
        "en": """\
spendgate serve
spendgate serve --rules rules.yaml --listen 0.0.0.0:8080 --workers 2
spendgate serve --redis redis://:secret@10.0.0.5:6379/2 --log-format json""",
        "ko": """\
spendgate serve
spendgate serve --rules rules.yaml --listen 0.0.0.0:8080 --workers 2
spendgate serve --redis redis://:secret@10.0.0.5:6379/2 --log-format json""",
    },
    # --- run
    "cli.run.summary": {
        "en": "Run a program through the proxy and say what it cost.",
        "ko": "프로그램을 프록시를 거쳐 실행하고 든 돈을 알려 줍니다.",
    },
    "cli.run.about": {
        "en": """Runs COMMAND with the environment that sends its paid calls through the proxy: base-URL variables
            of the SDKs whose APIs are in rules.yaml (OPENAI_BASE_URL, ANTHROPIC_BASE_URL, ...), HTTP_PROXY for
            plain HTTP, and HTTPS_PROXY where a rule intercepts or prices tunnels. Where a rule intercepts, programs
            are also made to trust the local certificate authority (SSL_CERT_FILE, REQUESTS_CA_BUNDLE,
            NODE_EXTRA_CA_CERTS, ...). Node.js gets a small module that leads its fetch through the proxy. Starts a
            proxy for the time of the run if none answers. Signals and the exit status are the command's own; a line
            on standard error says what it cost.

            Exit status: that of COMMAND; 125 if spendgate itself fails, 126 if COMMAND cannot be executed, 127 if
            it cannot be found.""",
        "ko": """COMMAND의 유료 호출이 프록시를 거치도록 환경 변수를 정해서 실행합니다. rules.yaml에 있는 API의
            SDK에는 기본 URL(OPENAI_BASE_URL, ANTHROPIC_BASE_URL 등)을, 일반 HTTP에는 HTTP_PROXY를 정하고,
            가로채거나 터널에 값을 매기는 규칙이 있으면 HTTPS_PROXY도 정합니다. 가로채는 규칙이 있으면 프로그램이
            로컬 인증 기관을 신뢰하게 하는 변수(SSL_CERT_FILE, REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS 등)도
            정합니다. Node.js에는 fetch가 프록시를 거치게 하는 작은 모듈을 얹습니다. 실행 중인 프록시가 없으면 그동안만
            하나를 띄웁니다. 시그널과 종료 상태는 프로그램의 것이고, 든 돈은 표준 오류에 한 줄로 알려 줍니다.

            종료 상태: COMMAND의 것. spendgate 자체가 실패하면 125, COMMAND를 실행할 수 없으면 126, 찾을 수
            없으면 127입니다.""",
    },
    "cli.run.examples": {
        "en": """\
spendgate run -- python app.py
spendgate run --rules rules.yaml -- sh -c 'curl -s "$OPENAI_BASE_URL/models"'""",
        "ko": """\
spendgate run -- python app.py
spendgate run --rules rules.yaml -- sh -c 'curl -s "$OPENAI_BASE_URL/models"'""",
    },
    # --- status
    "cli.status.summary": {"en": "Show budgets, APIs and proxies.", "ko": "예산과 API, 프록시의 상태를 봅니다."},
    "cli.status.about": {
        "en": """Shows each budget's spending against its limit, what is reserved by calls in flight, the APIs'
            costs of the month, and what needs attention. Works while a proxy runs and when none does.""",
        "ko": """예산마다 한도 대비 지출과 진행 중인 호출이 잡아 둔 금액, 이달의 API별 비용, 살펴볼 것을 보여
            줍니다. 프록시가 실행 중이 아니어도 볼 수 있습니다.""",
    },
    "cli.status.examples": {
        "en": """\
spendgate status
spendgate status --watch
spendgate status --json | jq '.budgets[] | {{name, ratio, state}}'""",
        "ko": """\
spendgate status
spendgate status --watch
spendgate status --json | jq '.budgets[] | {{name, ratio, state}}'""",
    },
    # --- ledger
    "cli.ledger.summary": {"en": "List finished calls and their cost.", "ko": "끝난 호출과 비용을 나열합니다."},
    "cli.ledger.about": {
        "en": """Lists the ledger's entries, the newest first. With --json one object a line, made for jq and
            spreadsheets. An entry's id is the X-Spendgate-Request-Id of the answer. States: settled (priced from
            what happened), estimated (the answer told no usage), unconfirmed (the proxy died during the call),
            unpriced.""",
        "ko": """원장의 기록을 새것부터 나열합니다. --json을 주면 한 줄에 하나씩 JSON으로 출력합니다. 기록의
            id는 응답의 X-Spendgate-Request-Id와 같습니다. 상태: settled(실제로 계산됨), estimated(응답에 사용량이
            없음), unconfirmed(호출 중 프록시가 죽음), unpriced(가격 없음).""",
    },
    "cli.ledger.examples": {
        "en": """\
spendgate ledger --last 20
spendgate ledger --json --last 1000 > calls.jsonl
spendgate ledger --id 019ab3c4d5e60f1e2d3c4b5a6978""",
        "ko": """\
spendgate ledger --last 20
spendgate ledger --json --last 1000 > calls.jsonl
spendgate ledger --id 019ab3c4d5e60f1e2d3c4b5a6978""",
    },
    # --- check
    "cli.check.summary": {
        "en": "Check rules.yaml and explain every mistake.",
        "ko": "rules.yaml의 잘못을 모두 짚어 줍니다.",
    },
    "cli.check.about": {
        "en": """Reads FILE (rules.yaml; - reads standard input) and reports every mistake in one run, each with
            its line, column, what is wrong and what would be right.

            Exit status: 0 clean (warnings allowed), 1 with mistakes, 2 when the file cannot be read.""",
        "ko": """FILE(기본 rules.yaml, -는 표준 입력)을 읽어 모든 잘못을 한 번에 알려 줍니다. 줄과 칸, 무엇이
            잘못되었고 어떻게 고치면 되는지 함께 보여 줍니다.

            종료 코드: 0 이상 없음(경고는 있어도 됨), 1 잘못이 있음, 2 파일을 읽을 수 없음.""",
    },
    "cli.check.examples": {
        "en": "spendgate check\nspendgate check rules.yaml --json\ngit show HEAD:rules.yaml | spendgate check -",
        "ko": "spendgate check\nspendgate check rules.yaml --json\ngit show HEAD:rules.yaml | spendgate check -",
    },
    # --- price
    "cli.price.summary": {
        "en": "Explain what a call would cost, and why.",
        "ko": "호출 하나가 얼마이고 왜 그런지 설명합니다.",
    },
    "cli.price.about": {
        "en": """Prices one call by rules.yaml without making it: which rule matched and why the others did not,
            the estimate before the call, and, with a response, the actual cost and each term of the sum. Describe
            the call like for curl (URL, -X, -H, -d), or with --request (a raw HTTP message, or JSON with method,
            url, headers, body), or with --exchange (one recorded exchange as JSON). The URL may be the API's own or
            the proxy's.

            Exit status: 0 priced or unpriced by a matching rule, 1 no rule matched, 2 unreadable input.""",
        "ko": """호출을 실제로 하지 않고 rules.yaml로 값을 매깁니다. 어느 규칙이 맞았고 다른 규칙은 왜 맞지
            않았는지, 호출 전 추정액, 그리고 응답을 주면 실제 비용과 계산 내역을 보여 줍니다. 호출은 curl처럼(URL,
            -X, -H, -d) 적거나 --request(HTTP 원문, 또는 method·url·headers·body를 담은 JSON)나 --exchange(기록된
            호출 하나의 JSON)로 줍니다. URL은 API의 것이든 프록시의 것이든 됩니다.

            종료 코드: 0 맞는 규칙이 있음, 1 맞는 규칙이 없음, 2 입력을 읽을 수 없음.""",
    },
    "cli.price.examples": {
        "en": """\
spendgate price https://dapi.kakao.com/v2/local/search/keyword.json?query=cafe
spendgate price -X POST https://api.openai.com/v1/chat/completions \\
    -d '{{"model": "gpt-4o-mini", "messages": [{{"role": "user", "content": "Hi"}}]}}'
spendgate price --request request.http --response response.http""",
        "ko": """\
spendgate price https://dapi.kakao.com/v2/local/search/keyword.json?query=cafe
spendgate price -X POST https://api.openai.com/v1/chat/completions \\
    -d '{{"model": "gpt-4o-mini", "messages": [{{"role": "user", "content": "안녕"}}]}}'
spendgate price --request request.http --response response.http""",
    },
    # --- schema
    "cli.schema.summary": {
        "en": "Print the JSON Schema of rules.yaml.",
        "ko": "rules.yaml의 JSON Schema를 출력합니다.",
    },
    "cli.schema.about": {
        "en": """Prints the JSON Schema that lets an editor complete and check rules.yaml. Save it beside the file
            and begin rules.yaml with the line: # yaml-language-server: $schema=rules.schema.json""",
        "ko": """편집기가 rules.yaml을 자동 완성하고 검사할 수 있게 하는 JSON Schema를 출력합니다. 파일 옆에
            저장하고 rules.yaml을 다음 줄로 시작하세요: # yaml-language-server: $schema=rules.schema.json""",
    },
    "cli.schema.examples": {
        "en": "spendgate schema > rules.schema.json",
        "ko": "spendgate schema > rules.schema.json",
    },
    # --- init
    "cli.init.summary": {"en": "Write a commented rules.yaml.", "ko": "설명이 달린 rules.yaml을 만듭니다."},
    "cli.init.about": {
        "en": """Writes a commented rules.yaml with a budget of 15,000 KRW a month and a few well-known APIs, and
            its JSON Schema beside it. Asks nothing. Never overwrites a file unless told to with --force.

            Exit status: 0 written, 1 the file exists, 2 it cannot be written.""",
        "ko": """월 15,000원 예산과 널리 쓰는 API 몇 가지를 담은, 설명이 달린 rules.yaml과 그 JSON Schema를
            만듭니다. 아무것도 묻지 않으며, --force 없이는 있는 파일을 덮어쓰지 않습니다.

            종료 코드: 0 만듦, 1 파일이 이미 있음, 2 쓸 수 없음.""",
    },
    "cli.init.examples": {
        "en": "spendgate init\nspendgate init team/rules.yaml --force",
        "ko": "spendgate init\nspendgate init team/rules.yaml --force",
    },
    # --- doctor
    "cli.doctor.summary": {
        "en": "Check that the counters add up and the store is safe.",
        "ko": "집계가 맞는지, 저장소가 안전한지 점검합니다.",
    },
    "cli.doctor.about": {
        "en": """Checks for every budget that spent equals the sum of its ledger entries and reserved the sum of
            its live reservations; the clock, persistence and memory policy of the store; and rules.yaml. Says what
            to do.

            Exit status: 0 healthy (warnings allowed), 1 a check failed, 3 the store does not answer.""",
        "ko": """예산마다 지출이 원장의 합과 같은지, 예약액이 살아 있는 예약의 합과 같은지 확인하고, 저장소의
            시계와 보존 설정, 메모리 정책, rules.yaml을 점검해 무엇을 하면 되는지 알려 줍니다.

            종료 코드: 0 건강함(경고는 있어도 됨), 1 실패한 점검이 있음, 3 저장소가 응답하지 않음.""",
    },
    "cli.doctor.examples": {
        "en": "spendgate doctor\nspendgate doctor --json",
        "ko": "spendgate doctor\nspendgate doctor --json",
    },
    # --- demo
    "cli.demo.summary": {
        "en": "See the whole story in a minute, without any account.",
        "ko": "계정 없이 1분 안에 전체 동작을 봅니다.",
    },
    "cli.demo.about": {
        "en": """Starts a simulator of paid APIs (chat, maps, SMS) and a proxy with its own store in a temporary
            folder, then spends through 70, 80, 90, 95 and 100 % of a small budget and shows every refusal. Nothing
            leaves this machine and nothing stays on it.""",
        "ko": """유료 API(채팅, 지도, 문자) 모의 서버와 임시 폴더의 저장소를 쓰는 프록시를 띄우고, 작은 예산을 70,
            80, 90, 95, 100 %까지 쓰면서 거절되는 호출을 하나하나 보여 줍니다. 아무것도 이 컴퓨터 밖으로 나가지
            않고, 아무것도 남지 않습니다.""",
    },
    "cli.demo.examples": {
        "en": "spendgate demo\nspendgate demo --lang ko\nspendgate demo --fast",
        "ko": "spendgate demo\nspendgate demo --lang en\nspendgate demo --fast",
    },
    # --- completion
    "cli.completion.summary": {
        "en": "Print the completion script of a shell.",
        "ko": "셸 자동 완성 스크립트를 출력합니다.",
    },
    "cli.completion.about": {
        "en": "Prints the script that completes spendgate's commands and options in SHELL: bash, zsh or fish.",
        "ko": "SHELL(bash, zsh, fish)에서 spendgate의 명령과 옵션을 자동 완성하는 스크립트를 출력합니다.",
    },
    "cli.completion.examples": {
        "en": """\
spendgate completion bash >> ~/.bashrc
spendgate completion zsh  >> ~/.zshrc
spendgate completion fish > ~/.config/fish/completions/spendgate.fish""",
        "ko": """\
spendgate completion bash >> ~/.bashrc
spendgate completion zsh  >> ~/.zshrc
spendgate completion fish > ~/.config/fish/completions/spendgate.fish""",
    },
    # --- options
    "cli.opt.help": {"en": "Show this page.", "ko": "이 도움말을 봅니다."},
    "cli.opt.version": {"en": "Print the version.", "ko": "버전을 출력합니다."},
    "cli.opt.lang": {
        "en": "Language of texts (default: SPENDGATE_LANG, else the locale).",
        "ko": "글의 언어 (기본: SPENDGATE_LANG, 없으면 로캘).",
    },
    "cli.opt.json": {"en": "Print JSON for programs.", "ko": "프로그램이 읽을 JSON으로 출력합니다."},
    "cli.opt.rules": {"en": "The rules (default: rules.yaml).", "ko": "규칙 파일 (기본: rules.yaml)."},
    "cli.opt.listen": {
        "en": "Where programs connect (default: 127.0.0.1:8080).",
        "ko": "프로그램이 접속할 주소 (기본: 127.0.0.1:8080).",
    },
    "cli.opt.admin": {
        "en": "Where /healthz and /readyz answer (default: 127.0.0.1:8081).",
        "ko": "/healthz와 /readyz가 응답할 주소 (기본: 127.0.0.1:8081).",
    },
    "cli.opt.data": {
        "en": "Folder of the embedded store (default: ~/.local/share/spendgate).",
        "ko": "내장 저장소의 폴더 (기본: ~/.local/share/spendgate).",
    },
    "cli.opt.redis": {
        "en": "Use this Redis or Valkey instead of the embedded store: redis://, rediss:// or unix://.",
        "ko": "내장 저장소 대신 쓸 Redis 또는 Valkey: redis://, rediss://, unix://.",
    },
    "cli.opt.store_tcp_port": {
        "en": "Let the embedded store also listen on this loopback TCP port.",
        "ko": "내장 저장소가 이 루프백 TCP 포트에서도 접속을 받게 합니다.",
    },
    "cli.opt.workers": {"en": "Worker processes (default: 1).", "ko": "작업자 프로세스 수 (기본: 1)."},
    "cli.opt.log_format": {"en": "Form of log lines (default: console).", "ko": "로그 형식 (기본: console)."},
    "cli.opt.log_level": {"en": "Least severity to log (default: info).", "ko": "남길 로그의 최소 수준 (기본: info)."},
    "cli.opt.lease": {
        "en": "How long a dead proxy's reservations are held before they are charged (default: 30).",
        "ko": "죽은 프록시의 예약을 청구하기까지 붙들어 두는 시간 (기본: 30초).",
    },
    "cli.opt.drain": {
        "en": "How long to wait for calls in flight when stopping (default: 20).",
        "ko": "멈출 때 진행 중인 호출을 기다리는 시간 (기본: 20초).",
    },
    "cli.opt.watch": {"en": "Keep showing it until Ctrl-C.", "ko": "Ctrl-C를 누를 때까지 계속 보여 줍니다."},
    "cli.opt.last": {
        "en": "Only the newest N entries (default: 20, with --json all).",
        "ko": "가장 최근 N건만 (기본: 20건, --json이면 전부).",
    },
    "cli.opt.id": {"en": "Only the entry with this id.", "ko": "이 id의 기록만 봅니다."},
    "cli.opt.force": {"en": "Overwrite existing files.", "ko": "있는 파일을 덮어씁니다."},
    "cli.opt.dashboard": {
        "en": "End with a dashboard full of data, open until Ctrl-C (on a terminal: yes).",
        "ko": "끝에 데이터가 담긴 대시보드를 Ctrl-C까지 열어 둡니다 (터미널에서는 기본).",
    },
    "cli.opt.fast": {"en": "Do not pause between the steps.", "ko": "단계 사이에 쉬지 않습니다."},
    "cli.opt.request": {
        "en": "The request: a raw HTTP message or JSON; - reads standard input.",
        "ko": "요청: HTTP 원문 또는 JSON. -는 표준 입력.",
    },
    "cli.opt.response": {"en": "The response: a raw HTTP message or JSON.", "ko": "응답: HTTP 원문 또는 JSON."},
    "cli.opt.exchange": {
        "en": "A recorded exchange (host, method, path, request_*, status, response_*) as JSON.",
        "ko": "기록된 호출 하나(host, method, path, request_*, status, response_*)의 JSON.",
    },
    "cli.opt.method": {"en": "The method, as for curl.", "ko": "메서드. curl과 같습니다."},
    "cli.opt.header": {"en": "A header, as for curl; repeatable.", "ko": "헤더. curl과 같고, 여러 번 쓸 수 있습니다."},
    "cli.opt.body": {
        "en": "The body, as for curl; @FILE reads a file, @- standard input.",
        "ko": "본문. curl과 같습니다. @FILE은 파일, @-는 표준 입력.",
    },
    "cli.opt.used": {
        "en": "Requests or units of an allowance or tier that are used up already (default: 0).",
        "ko": "무료 제공량이나 구간에서 이미 쓴 요청 수 또는 단위 (기본: 0).",
    },
    "cli.opt.seconds": {
        "en": "How long the call took, for prices by time (default: 0).",
        "ko": "시간제 가격에서 호출에 걸린 초 (기본: 0).",
    },
    "cli.opt.caller": {
        "en": "Show this caller's virtual key instead of the real keys.",
        "ko": "진짜 키 대신 이 호출자의 가상 키를 씁니다.",
    },
    "cli.opt.at": {
        "en": "Price as of this instant, ISO 8601 (default: now).",
        "ko": "이 시각(ISO 8601) 기준으로 값을 매깁니다 (기본: 지금).",
    },
}
