"""What the commands around HTTPS say: the certificate authority, interception, discovery."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.ca.summary": {
        "en": "Manage the local certificate authority for interception.",
        "ko": "가로채기에 쓰는 로컬 인증 기관을 관리합니다.",
    },
    "cli.ca.about": {
        "en": """APIs with “intercept: true” are answered with certificates of a local authority, so that each call
            inside HTTPS can be priced. The authority lives in the folder “ca” of the data folder; its key never
            leaves it, and it can sign only for the hosts that rules.yaml asks to intercept.

            init makes it, or issues it anew when those hosts have changed. show tells what it is. env prints lines
            that make programs of a shell trust it. install puts it into the system's store (or --folder). rotate
            makes a new key.""",
        "ko": """rules.yaml에서 ‘intercept: true’인 API에는 로컬 인증 기관의 인증서로 응답하여 HTTPS 안의 호출마다
            값을 매깁니다. 인증 기관은 데이터 폴더의 ca 폴더에 있고, 키는 그 밖으로 나가지 않으며, rules.yaml이
            가로채라고 한 호스트에만 서명할 수 있습니다.

            init은 인증 기관을 만들거나 호스트가 바뀌었을 때 다시 발급합니다. show는 내용을 보여 주고, env는 셸의
            프로그램이 신뢰하게 하는 줄을 출력합니다. install은 시스템 저장소(또는 --folder)에 넣고, rotate는 새
            키를 만듭니다.""",
    },
    "cli.ca.examples": {
        "en": """\
spendgate ca init
eval "$(spendgate ca env)"
spendgate ca show --json
sudo spendgate ca install --data .spendgate""",
        "ko": """\
spendgate ca init
eval "$(spendgate ca env)"
spendgate ca show --json
sudo spendgate ca install --data .spendgate""",
    },
    "cli.opt.ca_folder": {
        "en": "For install: a folder of trusted roots (default: the system's own).",
        "ko": "install에서: 신뢰할 인증서를 둘 폴더 (기본: 시스템의 폴더).",
    },
    "cli.ca.nothing": {
        "en": "no API in {path} asks to be intercepted, so no certificate authority is needed.",
        "ko": "{path}에 가로채기를 요청한 API가 없어 인증 기관이 필요하지 않습니다.",
    },
    "cli.ca.nothing_hint": {
        "en": "Add “intercept: true” to an API first.",
        "ko": "먼저 API에 ‘intercept: true’를 더해 주세요.",
    },
    "cli.ca.none": {
        "en": "there is no certificate authority in {folder} yet.",
        "ko": "{folder}에 아직 인증 기관이 없습니다.",
    },
    "cli.ca.none_hint": {
        "en": "Make it with “spendgate ca init”; the proxy makes it too when it starts.",
        "ko": "‘spendgate ca init’으로 만드세요. 프록시가 시작할 때도 만들어집니다.",
    },
    "cli.ca.done.made": {"en": "Made {file}.", "ko": "{file}을(를) 만들었습니다."},
    "cli.ca.done.kept": {"en": "{file} is as the rules want it.", "ko": "{file}은(는) 규칙과 맞습니다."},
    "cli.ca.done.hosts": {"en": "Issued {file} anew.", "ko": "{file}을(를) 다시 발급했습니다."},
    "cli.ca.done.renewed": {"en": "Renewed {file}.", "ko": "{file}을(를) 갱신했습니다."},
    "cli.ca.done.rotated": {"en": "Made a new key and {file}.", "ko": "새 키와 {file}을(를) 만들었습니다."},
    "cli.ca.changed.made": {
        "en": "A new certificate authority must be trusted by the programs that call {hosts}: {file}",
        "ko": "{hosts}을(를) 호출하는 프로그램이 새 인증 기관을 신뢰해야 합니다: {file}",
    },
    "cli.ca.changed.hosts": {
        "en": "The certificate authority was issued anew because the intercepted hosts have changed. Its key is the same: "
        "only programs that call {hosts} must trust it anew: {file}",
        "ko": "가로챌 호스트가 바뀌어 인증 기관을 다시 발급했습니다. 키는 그대로이므로 {hosts}을(를) 호출하는 프로그램만 다시 신뢰하면 "
        "됩니다: {file}",
    },
    "cli.ca.changed.renewed": {
        "en": "The certificate authority was close to its end and was renewed. Programs that call {hosts} must trust it "
        "anew: {file}",
        "ko": "인증 기관의 기한이 다 되어 갱신했습니다. {hosts}을(를) 호출하는 프로그램이 다시 신뢰해야 합니다: {file}",
    },
    "cli.ca.changed.rotated": {
        "en": "Everything that trusted the old certificate authority must trust the new one, and should forget the old "
        "one. It signs for {hosts}: {file}",
        "ko": "예전 인증 기관을 신뢰하던 모든 곳이 새 인증 기관을 신뢰하고 예전 것은 지워야 합니다. 서명할 호스트는 {hosts}입니다: {file}",
    },
    "cli.ca.removed": {
        "en": "It no longer signs for {hosts}. Stores that trust the former certificate should forget it.",
        "ko": "이제 {hosts}에는 서명하지 않습니다. 예전 인증서를 신뢰하는 저장소에서는 그것을 지우는 것이 좋습니다.",
    },
    "cli.ca.next": {
        "en": 'Programs trust it through “spendgate run”, “eval "$(spendgate ca env)"” or “spendgate ca install”.',
        "ko": '프로그램은 ‘spendgate run’, ‘eval "$(spendgate ca env)"’, ‘spendgate ca install’ 가운데 하나로 신뢰하게 됩니다.',
    },
    "cli.ca.fact.fingerprint": {"en": "fingerprint", "ko": "지문"},
    "cli.ca.fact.expires": {"en": "valid until", "ko": "유효 기간"},
    "cli.ca.fact.signs": {"en": "can sign for", "ko": "서명할 수 있는 호스트"},
    "cli.ca.fact.wanted": {
        "en": "the rules want now (run “spendgate ca init”)",
        "ko": "지금 규칙이 원하는 호스트 (‘spendgate ca init’을 실행하세요)",
    },
    "cli.ca.fact.nothing": {"en": "nothing", "ko": "없음"},
    "cli.ca.installed": {
        "en": "Installed it as {file}; programs that read the system's store trust it now.",
        "ko": "{file}로 설치했습니다. 시스템 저장소를 읽는 프로그램은 이제 신뢰합니다.",
    },
    "cli.ca.as_root": {
        "en": "The system's store belongs to root. Run these lines:",
        "ko": "시스템 저장소는 root의 것입니다. 다음을 실행하세요:",
    },
    "cli.ca.no_store": {
        "en": "this system has no folder for additional roots that spendgate knows.",
        "ko": "이 시스템에서 추가 인증서를 둘 폴더를 찾지 못했습니다.",
    },
    "cli.ca.other_stores": {
        "en": "Browsers, Java and Python's certifi have stores of their own: import {file} there, or use "
        "“spendgate ca env”.",
        "ko": "브라우저와 Java, Python의 certifi에는 저마다 저장소가 있습니다. 그곳에 {file}을(를) 가져오거나 ‘spendgate ca env’를 쓰세요.",
    },
    "cli.ca.update_failed": {
        "en": "“{command}” failed: {why}",
        "ko": "‘{command}’이(가) 실패했습니다: {why}",
    },
    "cli.ca.error.half": {
        "en": "the key and the certificate in {folder} do not both exist.",
        "ko": "{folder}에 키와 인증서 가운데 하나가 없습니다.",
    },
    "cli.ca.error.unreadable": {"en": "cannot read {folder}: {why}.", "ko": "{folder}을(를) 읽을 수 없습니다: {why}."},
    "cli.ca.error.unwritable": {"en": "cannot write {folder}: {why}.", "ko": "{folder}에 쓸 수 없습니다: {why}."},
    "cli.ca.error.broken": {
        "en": "the files in {folder} are no key and certificate that belong together.",
        "ko": "{folder}의 파일이 서로 맞는 키와 인증서가 아닙니다.",
    },
    "cli.ca.error.exposed": {
        "en": "others on this machine can read the key {file}, so it is not used.",
        "ko": "이 컴퓨터의 다른 사용자가 키 {file}을(를) 읽을 수 있어 쓰지 않습니다.",
    },
    "cli.ca.error.hint": {
        "en": "“spendgate ca rotate” makes a new one.",
        "ko": "‘spendgate ca rotate’로 새로 만들 수 있습니다.",
    },
    # --- check
    "cli.check.intercepts": {
        "en": "Intercepted through HTTPS_PROXY, call by call: {hosts} ({api}). All other HTTPS stays a tunnel.",
        "ko": "HTTPS_PROXY를 거치면 호출마다 가로채는 호스트: {hosts} ({api}). 그 밖의 HTTPS는 터널로 남습니다.",
    },
    "cli.check.intercept_pinned": {
        "en": "Programs that do not accept our certificate pass as tunnels of rule {rule}.",
        "ko": "우리 인증서를 받아들이지 않는 프로그램은 {rule} 규칙의 터널로 통과합니다.",
    },
    # --- discover
    "cli.discover.summary": {
        "en": "Show hosts that no rule prices call by call.",
        "ko": "호출마다 값이 매겨지지 않는 호스트를 보여 줍니다.",
    },
    "cli.discover.about": {
        "en": """Lists the hosts that programs reached through HTTP_PROXY or HTTPS_PROXY and whose calls the rules do
            not price one by one: tunnels, hosts without a rule (let pass or refused), and programs that could not be
            intercepted. Says how often, by whom, and whether such a host usually costs money, by a list that comes
            with spendgate. Ends with the lines to add to rules.yaml.""",
        "ko": """프로그램이 HTTP_PROXY나 HTTPS_PROXY로 접속했지만 규칙이 호출마다 값을 매기지 않는 호스트를
            나열합니다. 터널, 규칙이 없어 통과하거나 거절된 호스트, 가로챌 수 없었던 프로그램이 여기에 듭니다. 얼마나
            자주, 누가 썼는지와 보통 돈이 드는 호스트인지를 spendgate에 든 목록으로 알려 주고, rules.yaml에 더할 줄을
            끝에 보여 줍니다.""",
    },
    "cli.discover.examples": {
        "en": """\
spendgate discover
spendgate discover --days 30 --json""",
        "ko": """\
spendgate discover
spendgate discover --days 30 --json""",
    },
    "cli.opt.days": {"en": "Look back so many days (default: 7).", "ko": "며칠 전까지 볼지 정합니다 (기본: 7)."},
    "cli.discover.none": {
        "en": "Days looked at: {days}. Nothing went anywhere but to APIs whose calls are priced.",
        "ko": "최근 {days}일 동안 호출마다 값이 매겨지는 API 말고는 접속한 곳이 없습니다.",
    },
    "cli.discover.host": {"en": "host", "ko": "호스트"},
    "cli.discover.calls": {"en": "connections", "ko": "연결"},
    "cli.discover.size": {"en": "data", "ko": "데이터"},
    "cli.discover.callers": {"en": "callers", "ko": "호출자"},
    "cli.discover.paid": {"en": "costs money?", "ko": "유료인가요?"},
    "cli.discover.outcome.tunnel": {"en": "as tunnels", "ko": "터널"},
    "cli.discover.outcome.observed": {"en": "unpriced", "ko": "가격 없음"},
    "cli.discover.outcome.refused": {"en": "refused", "ko": "거절"},
    "cli.discover.outcome.certificate_refused": {"en": "not trusting us", "ko": "인증서 거부"},
    "cli.discover.outcome.http2_refused": {"en": "HTTP/2 only", "ko": "HTTP/2만 사용"},
    "cli.discover.likely.yes": {"en": "yes", "ko": "예"},
    "cli.discover.likely.perhaps": {"en": "perhaps", "ko": "아마도"},
    "cli.discover.likely.no": {"en": "no", "ko": "아니요"},
    "cli.discover.likely.unknown": {"en": "unknown", "ko": "모름"},
    "cli.discover.why.models": {"en": "AI models, billed by token or call", "ko": "토큰이나 호출로 과금되는 AI 모델"},
    "cli.discover.why.media": {"en": "pictures or video, billed each", "ko": "건마다 과금되는 이미지나 영상"},
    "cli.discover.why.speech": {"en": "speech, billed by time or character", "ko": "시간이나 글자로 과금되는 음성"},
    "cli.discover.why.text": {
        "en": "translation or recognition, billed by character or page",
        "ko": "글자나 쪽으로 과금되는 번역이나 인식",
    },
    "cli.discover.why.maps": {"en": "maps, billed by request", "ko": "요청마다 과금되는 지도"},
    "cli.discover.why.messages": {"en": "messages, billed each", "ko": "건마다 과금되는 메시지"},
    "cli.discover.why.search": {"en": "search, billed by query", "ko": "질의마다 과금되는 검색"},
    "cli.discover.why.data": {"en": "data, billed by request", "ko": "요청마다 과금되는 데이터"},
    "cli.discover.why.code": {"en": "source code", "ko": "소스 코드 저장소"},
    "cli.discover.why.weights": {"en": "downloads of models", "ko": "모델 내려받기"},
    "cli.discover.why.sign_in": {"en": "signing in", "ko": "로그인"},
    "cli.discover.why.telemetry": {"en": "reports of programs about themselves", "ko": "프로그램의 상태 보고"},
    "cli.discover.why.named_api": {"en": "its name says that it is an API", "ko": "이름으로 보아 API입니다"},
    "cli.discover.why.not_listed": {"en": "not on the list", "ko": "목록에 없습니다"},
    "cli.discover.why.in_rules": {"en": "an API of rules.yaml", "ko": "rules.yaml에 있는 API"},
    "cli.discover.why.many": {"en": "too many hosts to name in a day", "ko": "하루에 적을 수 있는 수를 넘은 호스트들"},
    "cli.discover.intercept": {
        "en": "The calls to {host} are not seen. With “intercept: true” at “{api}” in rules.yaml each is priced by itself.",
        "ko": "{host} 호출은 내용이 보이지 않습니다. rules.yaml의 ‘{api}’에 ‘intercept: true’를 더하면 호출마다 값을 매깁니다.",
    },
    "cli.discover.comment.rate": {
        "en": "replace 1 by what a US dollar is worth in {currency}",
        "ko": "1을 미국 달러 하나의 {currency} 가치로 바꾸세요",
    },
    "cli.discover.comment.price": {
        "en": "replace 1 by the price of a call",
        "ko": "1을 호출 한 번의 가격으로 바꾸세요",
    },
    "cli.discover.add": {
        "en": "Add these lines to rules.yaml to price what may cost money:",
        "ko": "돈이 들 수 있는 호출에 값을 매기려면 rules.yaml에 다음 줄을 더하세요:",
    },
}
