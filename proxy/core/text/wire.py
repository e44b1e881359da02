"""Why a request on the wire was refused before anybody looked at what it asks for."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "wire.bad_request_line": {
        "en": "The request line is not a valid HTTP/1.1 request line.",
        "ko": "요청 줄이 올바른 HTTP/1.1 형식이 아닙니다.",
    },
    "wire.http_version": {
        "en": "Only HTTP/1.1 and HTTP/1.0 are understood here.",
        "ko": "HTTP/1.1과 HTTP/1.0만 지원합니다.",
    },
    "wire.bad_target": {
        "en": "The request target is not a path, an absolute URL or an authority that this method allows.",
        "ko": "요청 대상이 이 메서드에 허용되는 경로, 절대 URL 또는 authority가 아닙니다.",
    },
    "wire.bad_scheme": {
        "en": "Only http and https targets can be forwarded.",
        "ko": "http와 https 대상만 전달할 수 있습니다.",
    },
    "wire.bad_host": {
        "en": "The host of the request target is not a valid host name or address.",
        "ko": "요청 대상의 호스트가 올바른 이름이나 주소가 아닙니다.",
    },
    "wire.ambiguous_address": {
        "en": "The host looks like an address in an ambiguous notation; write IPv4 as four decimal numbers.",
        "ko": "호스트가 여러 가지로 해석될 수 있는 주소 표기입니다. IPv4는 십진수 네 개로 적어 주세요.",
    },
    "wire.bad_port": {
        "en": "The port is missing or is not a number from 1 to 65535.",
        "ko": "포트가 없거나 1에서 65535 사이의 숫자가 아닙니다.",
    },
    "wire.userinfo": {
        "en": "A user name or password in the request target is not accepted.",
        "ko": "요청 대상에 사용자 이름이나 비밀번호를 넣을 수 없습니다.",
    },
    "wire.trace": {
        "en": "TRACE is not forwarded, because it would show the API's key to the caller.",
        "ko": "TRACE는 API 키를 호출자에게 노출할 수 있으므로 전달하지 않습니다.",
    },
    "wire.misdirected": {
        "en": "The request is for another host than the one that this connection was opened to.",
        "ko": "이 연결이 열린 호스트가 아닌 다른 호스트에 대한 요청입니다.",
    },
    "wire.early_bytes": {
        "en": "Bytes came behind the CONNECT request before it was answered.",
        "ko": "CONNECT 요청에 답하기도 전에 그 뒤로 데이터가 왔습니다.",
    },
    "wire.dot_segments": {
        "en": "The path contains dot segments, which servers read in different ways.",
        "ko": "경로에 서버마다 다르게 해석되는 점(.) 구간이 있습니다.",
    },
    "wire.websocket": {
        "en": "The request wants to become a WebSocket, but is not a handshake of version 13 (GET, HTTP/1.1, one key).",
        "ko": "WebSocket으로 바꾸려는 요청이지만 버전 13의 핸드셰이크(GET, HTTP/1.1, 키 하나)가 아닙니다.",
    },
    "wire.bad_header": {
        "en": "A header line is not a valid name and value.",
        "ko": "헤더 줄이 올바른 이름과 값의 형식이 아닙니다.",
    },
    "wire.folded_header": {
        "en": "A header is folded over several lines, which is obsolete and not accepted.",
        "ko": "여러 줄로 접힌 헤더는 폐지된 형식이므로 받지 않습니다.",
    },
    "wire.bare_line_break": {
        "en": "The head contains a line break that is not CR LF.",
        "ko": "헤더에 CR LF가 아닌 줄바꿈이 있습니다.",
    },
    "wire.control_character": {
        "en": "The head contains a control character.",
        "ko": "헤더에 제어 문자가 있습니다.",
    },
    "wire.space_before_colon": {
        "en": "A header name is followed by white space before its colon.",
        "ko": "헤더 이름과 콜론 사이에 공백이 있습니다.",
    },
    "wire.too_many_headers": {
        "en": "The request has too many headers.",
        "ko": "요청의 헤더가 너무 많습니다.",
    },
    "wire.head_too_large": {
        "en": "The request line and headers are too large.",
        "ko": "요청 줄과 헤더가 너무 큽니다.",
    },
    "wire.target_too_long": {
        "en": "The request target is too long.",
        "ko": "요청 대상이 너무 깁니다.",
    },
    "wire.head_timeout": {
        "en": "The request head did not arrive in time.",
        "ko": "요청 헤더가 제시간에 도착하지 않았습니다.",
    },
    "wire.head_cut_short": {
        "en": "The connection ended before the request head did.",
        "ko": "요청 헤더가 끝나기 전에 연결이 종료되었습니다.",
    },
    "wire.no_host": {
        "en": "The Host header is missing.",
        "ko": "Host 헤더가 없습니다.",
    },
    "wire.several_hosts": {
        "en": "The request has more than one Host header.",
        "ko": "Host 헤더가 둘 이상입니다.",
    },
    "wire.bad_host_header": {
        "en": "The Host header is not a valid host with an optional port.",
        "ko": "Host 헤더가 올바른 호스트와 포트가 아닙니다.",
    },
    "wire.several_lengths": {
        "en": "The request has more than one Content-Length header.",
        "ko": "Content-Length 헤더가 둘 이상입니다.",
    },
    "wire.bad_length": {
        "en": "The Content-Length header is not a plain decimal number.",
        "ko": "Content-Length 헤더가 십진수가 아닙니다.",
    },
    "wire.several_codings": {
        "en": "The request has more than one Transfer-Encoding header.",
        "ko": "Transfer-Encoding 헤더가 둘 이상입니다.",
    },
    "wire.unknown_coding": {
        "en": "The only Transfer-Encoding understood here is chunked.",
        "ko": "Transfer-Encoding은 chunked만 지원합니다.",
    },
    "wire.coding_in_http10": {
        "en": "HTTP/1.0 knows no Transfer-Encoding.",
        "ko": "HTTP/1.0에는 Transfer-Encoding을 쓸 수 없습니다.",
    },
    "wire.length_and_coding": {
        "en": "Content-Length and Transfer-Encoding must not come together.",
        "ko": "Content-Length와 Transfer-Encoding을 함께 보낼 수 없습니다.",
    },
    "wire.framing_lookalike": {
        "en": "A header name looks like Content-Length or Transfer-Encoding but is not.",
        "ko": "Content-Length나 Transfer-Encoding과 비슷하지만 다른 이름의 헤더가 있습니다.",
    },
    "wire.body_not_allowed": {
        "en": "This method cannot carry a request body.",
        "ko": "이 메서드는 요청 본문을 가질 수 없습니다.",
    },
    "wire.unknown_expectation": {
        "en": "The only expectation understood here is 100-continue.",
        "ko": "Expect 헤더는 100-continue만 지원합니다.",
    },
    "wire.bad_chunk": {
        "en": "The chunked request body is malformed.",
        "ko": "chunked 요청 본문의 형식이 잘못되었습니다.",
    },
    "wire.body_cut_short": {
        "en": "The connection ended before the request body did.",
        "ko": "요청 본문이 끝나기 전에 연결이 종료되었습니다.",
    },
    "wire.body_timeout": {
        "en": "The request body did not arrive in time.",
        "ko": "요청 본문이 제시간에 도착하지 않았습니다.",
    },
    "wire.too_many_connections": {
        "en": "Too many connections are open; try again shortly.",
        "ko": "열린 연결이 너무 많습니다. 잠시 후 다시 시도해 주세요.",
    },
    "wire.internal_error": {
        "en": "The proxy failed to handle this request; its log says why.",
        "ko": "프록시가 이 요청을 처리하지 못했습니다. 원인은 로그에 있습니다.",
    },
}
