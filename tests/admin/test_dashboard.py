"""The dashboard in a real Chromium: every page in both languages, live numbers, access, and what nobody may see.

One browser and one guarded proxy serve the whole module. Every page that a test opens is watched: a console error, a
failed script, a request to another origin or a violation of accessibility fails it.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.admin.seeds import advised, opened, runaway, slow_store, storm
from tests.harness import ROOT, RunningProxy, running_proxy

AXE = (ROOT / "tests/node/node_modules/axe-core/axe.min.js").read_text()
KEY_BATCH = f"batch-{'x' * 32}"
TOKENS = {f"TOKEN_{role}": f"{role.lower()}-{'x' * 32}" for role in ("ADMIN", "OPERATOR", "VIEWER")}
ENVIRONMENT = {**TOKENS, "KEY_BATCH": KEY_BATCH}
RULES = """version: 1
currency: KRW
timezone: Asia/Seoul
emergency: {{detect: store}}  # the incidents that pages show are the test's
callers: [{{name: batch, key_env: KEY_BATCH}}]
defaults: {{require_caller: false}}
budgets:
  - {{name: monthly, limit: 1500, period: month}}
  - {{name: chat-daily, limit: 900, period: day, applies_to: {{api: chat}}}}
apis:
  - name: chat
    upstream: {upstream}
    speaks: openai
    rate_limits: [500/minute]
    breaker: {{failures: 50%, of_at_least: 10, window: 60s, open_for: 30s}}
    prices:
      - {{match: {{path: /v1/models*}}, free: true}}
      - {{match: {{method: POST, path: /v1/*}}, tokens: {{input: 10000, output: 50000}}}}
  - name: map
    upstream: {upstream}
    prices: [{{name: search, match: {{path: /v2/**}}, per_request: 20}}]
services:
  - {{name: database, priority: essential, command: {{stop: ["true"], start: ["true"]}}}}
  - {{name: reports, priority: optional, depends_on: [database], command: {{stop: ["true"], start: ["true"]}}}}
admin:
  tokens:
    - {{name: anna, role: admin, token_env: TOKEN_ADMIN}}
    - {{name: olaf, role: operator, token_env: TOKEN_OPERATOR}}
    - {{name: vera, role: viewer, token_env: TOKEN_VIEWER}}
"""
MENU = "Language, theme and account"
PAGES = ("/", "/forecast", "/optimize", "/services", "/usage", "/alerts", "/rules", "/emergency")


class _Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        usage = {"prompt_tokens": 100, "completion_tokens": 480, "total_tokens": 580}
        message = {"role": "assistant", "content": "Hello."}
        self._answer({"model": "demo", "choices": [{"message": message}], "usage": usage})

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    rules = RULES.format(upstream=f"http://127.0.0.1:{server.server_port}")
    try:
        with running_proxy(rules, tmp_path_factory.mktemp("dashboard"), env=ENVIRONMENT) as proxy:
            for _ in range(4):
                spend(proxy)
            httpx.get(f"{proxy.url}/map/v2/x", trust_env=False)
            seen = runaway("0a1b2c3d"), storm("1a1b2c3d", "chat"), slow_store("2a1b2c3d")
            opened(proxy, ENVIRONMENT, *seen, resolved="2a1b2c3d")
            yield proxy
    finally:
        server.shutdown()
        thread.join()


def spend(proxy: RunningProxy) -> httpx.Response:
    """One chat of 25 won."""
    body = {"model": "demo", "max_tokens": 480, "messages": [{"role": "user", "content": "hi"}]}
    return httpx.post(f"{proxy.url}/chat/v1/chat/completions", json=body, trust_env=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        yield browser
        browser.close()


@contextlib.contextmanager
def visit(
    browser: Browser, proxy: RunningProxy, role: str = "ADMIN", *, broken: bool = False, **options: object
) -> Iterator[Page]:
    """A browser of its own that has signed in; what goes wrong on any of its pages fails the test.

    broken: the test breaks the connection itself, and what the browser says of that is expected.
    """
    context: BrowserContext = browser.new_context(**{"locale": "en-US", **options})
    context.set_default_timeout(15_000)
    expect.set_options(timeout=15_000)
    wrong: list[str] = []
    expected = ["net::ERR_", "htmx:sse:error"] if broken else []

    def told(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(one in message.text for one in expected):
            wrong.append(message.text)

    context.on("console", told)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("request", lambda asked: asked.url.startswith((proxy.admin_url, "data:")) or wrong.append(asked.url))
    page = context.new_page()
    if role:
        page.goto(f"{proxy.admin_url}/login")
        page.fill("#token", TOKENS[f"TOKEN_{role}"])
        page.press("#token", "Enter")
        page.wait_for_url(f"{proxy.admin_url}/")
    yield page
    context.close()
    assert wrong == []


def violations(page: Page) -> list[str]:
    """What axe-core finds, in its own words."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{one['id']}: {one['help']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("language", "locale"), [("ko", "ko-KR"), ("en", "en-US")])
def test_every_page_is_whole_and_accessible_in_both_languages(
    browser: Browser, proxy: RunningProxy, path: str, language: str, locale: str
) -> None:
    with visit(browser, proxy, locale=locale) as page:
        page.goto(proxy.admin_url + path)
        assert page.get_attribute("html", "lang") == language
        assert page.locator("header [aria-current=page]").count() == 1
        assert violations(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_dark_pages_and_phones_are_accessible_and_nothing_overflows(
    browser: Browser, proxy: RunningProxy, path: str
) -> None:
    phone = {"viewport": {"width": 360, "height": 780}, "color_scheme": "dark"}
    with visit(browser, proxy, **phone) as page:
        page.goto(proxy.admin_url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert violations(page) == []


def test_the_number_moves_within_a_second_of_a_call(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy) as page:
        expect(page.locator("#pulse.live")).to_be_visible()
        spent = page.locator("dl.facts dd").first
        before = int(spent.inner_text().strip("₩").replace(",", ""))
        assert spend(proxy).status_code == 200
        expect(spent).to_have_text(f"₩{before + 25}", timeout=2_000)


def test_programs_hear_what_moves_within_a_second(proxy: RunningProxy) -> None:
    key = {"Authorization": f"Bearer {TOKENS['TOKEN_ADMIN']}"}
    url = f"{proxy.admin_url}/api/v1"
    with httpx.Client(trust_env=False, headers=key, timeout=15) as client:
        assert httpx.get(f"{url}/events", trust_env=False).status_code == 401
        with client.stream("GET", f"{url}/events") as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            lines = answer.iter_lines()

            def heard(name: str) -> Any:
                """The next event of this kind: whole, and as its route answers."""
                while next(lines) != f"event: {name}":
                    pass
                return json.loads(next(lines).removeprefix("data: "))

            before = Decimal(heard("levels")["budgets"][0]["spent"])
            assert heard("emergency") == client.get(f"{url}/emergency").json()
            assert "incidents" in heard("incidents")
            assert [one["name"] for one in heard("services")["services"]] == ["database", "reports"]
            assert "alerts" in heard("alerts")
            assert spend(proxy).status_code == 200
            while Decimal(heard("levels")["budgets"][0]["spent"]) != before + 25:
                pass  # reserved first
            done = client.post(f"{url}/emergency/block", json={"target": "api:map", "reason": "a test"}).json()
            assert [one["field"] for one in heard("emergency")["switches"]] == ["api:map"]
            client.post(f"{url}/emergency/undo/{done['number']}", json={"reason": "over"})
            assert heard("emergency")["switches"] == []


def test_first_screen_says_what_is_gone_and_what_is_left(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy, locale="ko-KR") as page:
        page.goto(proxy.admin_url)
        level = proxy.budget()
        hero = page.locator(".hero").inner_text()
        assert "1,500원" in hero
        left = 1500 - float(level["spent"])
        assert f"{left:,.0f}원" in hero


def search(proxy: RunningProxy) -> tuple[int, str | None]:
    """One map search: its status, and the reason if it was refused."""
    answer = httpx.get(f"{proxy.url}/map/v2/x", trust_env=False)
    return answer.status_code, answer.json().get("reason")


def act(page: Page, name: str, **fields: str) -> None:
    """Fill in one form of the emergency desk and send it; it says that it was done."""
    form = page.locator(f"form[action='/do/emergency/{name}']")
    for field, value in fields.items():
        place = form.locator(f"[name={field}]")
        if place.evaluate("one => one.tagName") == "SELECT":
            place.select_option(value)
        else:
            place.fill(value)
    form.locator("button").click()
    expect(page.locator(".notice.done")).to_be_visible()


def test_each_act_says_what_it_will_do_before_it_is_done(browser: Browser, proxy: RunningProxy) -> None:
    limit = Decimal(proxy.budget()["limit"])
    with visit(browser, proxy) as page:
        page.goto(f"{proxy.admin_url}/emergency")
        for act in ("lift", "bypass", "block", "stop"):
            expect(page.locator(f"form[action='/do/emergency/{act}'] .will")).to_contain_text(
                "From the next request until"
            )
        form = page.locator("form[action='/do/emergency/increase']")
        form.locator("[name=amount]").press_sequentially("500")
        will = form.locator(".will")
        expect(will).to_contain_text(f"monthly: the limit goes from ₩{limit:,} to ₩{limit + 500:,}, until")
        expect(form.locator("[name=amount]")).to_be_focused()
        form.locator("[name=budget]").select_option("chat-daily")
        expect(will).to_contain_text("chat-daily: the limit goes from")
        page.locator("#block-target").select_option("api:map")
        page.locator("#block-until").select_option("")
        will = page.locator("form[action='/do/emergency/block'] .will")
        expect(will).to_contain_text("From the next request until it is undone.")
        expect(will).to_contain_text("API map: every call that costs money gets 503.")
        assert search(proxy)[1] != "service_stopped", "nothing was done yet"
        assert violations(page) == []


def test_a_request_is_tried_and_a_call_is_looked_into(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy) as page:
        page.goto(f"{proxy.admin_url}/rules")
        page.fill("#url", f"{proxy.url}/map/v2/x")
        page.select_option("#method", "GET")
        page.click("#try ~ form button")
        verdict = page.locator(".verdict")
        expect(verdict).to_contain_text("₩20 exactly")
        expect(page.locator("table", has_text="map/search")).to_contain_text("rules.yaml:")
        entry = proxy.ledger("--last", "1")[0]
        page.goto(f"{proxy.admin_url}/usage")
        page.click(f"a[href='/usage/{entry['id']}']")
        expect(page.locator("section", has=page.locator("#how")).locator("table")).to_be_visible()
        expect(page.locator("section", has=page.locator("#what"))).to_contain_text(entry["id"])


def test_everything_is_within_reach_of_the_keyboard(browser: Browser, proxy: RunningProxy) -> None:
    where = "document.activeElement.textContent.trim() || document.activeElement.getAttribute('aria-label')"
    with visit(browser, proxy) as page:
        page.goto(proxy.admin_url)
        walked = []
        for _ in range(11):
            page.keyboard.press("Tab")
            walked.append(page.evaluate(where))
            assert page.evaluate("document.activeElement.matches(':focus-visible')")
        tabs = ["Overview", "Cost forecast", "Optimisation", "Services", "API usage", "Alerts", "Rules"]
        assert walked == ["Skip to the content", "spendgate", *tabs, "Emergency desk", MENU]
        page.keyboard.press("Enter")
        expect(page.locator("details.menu .sheet")).to_be_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(page.locator("details.menu .sheet")).to_be_hidden()
        assert page.evaluate(where) == MENU, "focus returns to what opened the menu"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{proxy.admin_url}/emergency")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        reached = []
        while "block-reason" not in reached:
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id"))
            assert len(reached) < 40
        assert [one for one in reached if one] == [
            *("lift-target", "lift-until", "lift-reason", "increase-budget", "increase-amount", "increase-reason"),
            *("bypass-until", "bypass-reason", "block-target", "block-until", "block-reason"),
        ]
        page.locator("#block-target").select_option("api:map")
        page.locator("#block-reason").focus()
        page.keyboard.type("by keyboard")
        page.keyboard.press("Enter")
        expect(page.locator(".notice.done[role=alert]")).to_be_visible()
        undo_all(page)


def test_on_paper_a_page_is_dark_on_white_with_its_figures_and_no_buttons(
    browser: Browser, proxy: RunningProxy
) -> None:
    with visit(browser, proxy, color_scheme="dark") as page:
        page.context.add_cookies([{"name": "spendgate_theme", "value": "dark", "url": proxy.admin_url}])
        for path in ("/", "/forecast", "/usage", "/services"):
            page.goto(proxy.admin_url + path)
            page.emulate_media(media="print")
            look = "(one => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor])(document.body)"
            assert page.evaluate(look) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
            for hidden in (".tabs", ".tools", "main button", "main input"):
                expect(page.locator(hidden).locator("visible=true")).to_have_count(0)
            expect(page.locator("footer .paper")).to_contain_text("As of 2")
            for table in page.locator(".as-table table").all():
                expect(table).to_be_visible()
            page.set_viewport_size({"width": 720, "height": 1000})  # A4 with its margins
            assert page.evaluate("document.documentElement.scrollWidth") <= 720
            page.emulate_media(media="screen")
            page.set_viewport_size({"width": 1280, "height": 720})


def undo_all(page: Page) -> None:
    while page.locator("form[action='/do/emergency/undo']").count():
        form = page.locator("form[action='/do/emergency/undo']").first
        form.locator("[name=reason]").fill("over")
        form.locator("button").click()
        expect(page.locator(".notice.done")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "fields", "passes"),
    [
        ("block", {"target": "api:map", "until": "1h"}, (503, "service_stopped")),
        ("stop", {"until": ""}, (503, "service_stopped")),
    ],
)
def test_what_the_desk_does_holds_at_the_next_call_and_can_be_undone(
    browser: Browser, proxy: RunningProxy, name: str, fields: dict[str, str], passes: tuple[int, str]
) -> None:
    with visit(browser, proxy) as page:
        page.goto(f"{proxy.admin_url}/emergency")
        assert search(proxy) == (200, None)
        act(page, name, reason="a test", **fields)
        assert search(proxy) == passes
        expect(page.locator("table")).to_contain_text("a test")
        undo_all(page)
        assert search(proxy) == (200, None)


def test_a_budget_that_is_used_up_opens_by_increase_and_by_bypass(browser: Browser, proxy: RunningProxy) -> None:
    while spend(proxy).status_code == 200:
        pass
    with visit(browser, proxy) as page:
        page.goto(f"{proxy.admin_url}/emergency")
        act(page, "bypass", until="1h", reason="a launch")
        assert spend(proxy).status_code == 200
        undo_all(page)
        assert spend(proxy).status_code in (402, 503)
        page.goto(f"{proxy.admin_url}/alerts")
        page.locator("form[action='/do/alerts/acknowledge'] button").first.click()
        expect(page.locator(".notice.done")).to_be_visible()
        expect(page.locator("section", has=page.locator("#history"))).to_contain_text("anna")
        page.goto(f"{proxy.admin_url}/emergency")
        act(page, "increase", budget="monthly", amount="500", reason="a launch")
        act(page, "increase", budget="chat-daily", amount="500", reason="a launch")
        assert spend(proxy).status_code == 200


def test_a_service_is_stopped_by_hand_and_given_back(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy) as page:
        page.goto(f"{proxy.admin_url}/services")
        row = page.locator("tr", has_text="reports")
        row.locator("[name=reason]").fill("maintenance")
        row.locator("button[value=stop]").click()
        expect(page.locator(".notice.done")).to_be_visible()
        expect(page.locator("tr", has_text="reports").locator("button[value=auto]")).to_be_visible()
        expect(page.locator("section", has=page.locator("#actions"))).to_contain_text("maintenance")


def test_an_incident_is_dealt_with_from_the_first_screen_to_its_end(browser: Browser, proxy: RunningProxy) -> None:
    def calls() -> int:
        headers = {"Authorization": f"Bearer {KEY_BATCH}"}
        return httpx.get(f"{proxy.url}/map/v2/x", headers=headers, trust_env=False).status_code

    with visit(browser, proxy, "OPERATOR") as page:
        page.get_by_role("link", name="Open incidents: 2. The worst (critical): Caller batch").click()
        mine = page.locator("#i-0a1b2c3d")
        mine.get_by_role("button", name="I have seen it").click()
        expect(mine).to_contain_text("seen by olaf")
        assert calls() == 200
        mine.get_by_text("Block the caller batch", exact=True).click()
        mine.get_by_label("Reason").first.fill("runs in a loop")
        mine.get_by_label("For how long").first.select_option("10m")
        assert violations(page) == []
        mine.get_by_role("button", name="Confirm: Block the caller batch").click()
        expect(mine).to_contain_text("The caller batch is blocked until")
        assert calls() == 503, "the very next call obeys"
        page.locator(".rows .undo").filter(has_text="Undo").get_by_placeholder("Reason").fill("mended")
        page.locator(".rows .undo").get_by_role("button", name="Undo").click()
        expect(mine).to_contain_text("holds no more")
        assert calls() == 200
        mine.get_by_text("Add a note or resolve").click()
        mine.get_by_label("What you found").fill("a loop without a pause")
        mine.get_by_role("button", name="It is over").click()
        expect(page.locator("#i-0a1b2c3d")).to_have_count(0)
        page.goto(f"{proxy.admin_url}/alerts?incidents=&level=critical&seen=yes")
        (found,) = page.locator("section:has(#incidents) .rows > li").all()
        expect(found).to_contain_text("a loop without a pause")
        page.goto(f"{proxy.admin_url}/alerts?incidents=open")
        expect(page.locator("section:has(#incidents) .rows > li")).to_have_count(1)


def test_a_recommendation_is_put_off_dismissed_and_shown_again(browser: Browser, proxy: RunningProxy) -> None:
    advised(proxy, ENVIRONMENT)
    with visit(browser, proxy, "OPERATOR", viewport={"width": 1280, "height": 1000}) as page:
        page.goto(f"{proxy.admin_url}/optimize")
        chat, search = (
            page.locator("section.card", has_text=f"of {about} repeat") for about in ("chat/1 demo", "map/search")
        )
        expect(page.locator(".page-head .big")).to_contain_text("₩510")
        expect(chat).to_contain_text("cache: {ttl: 24h, scope: caller}")
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        chat.get_by_role("button", name="Copy").click()
        expect(chat.get_by_role("button", name="Copied")).to_be_visible()
        assert "cache: {ttl: 24h, scope: caller}" in page.evaluate("navigator.clipboard.readText()")
        chat.get_by_role("button", name="In 30 days again").click()
        expect(page.locator(".notice.done")).to_have_text("The recommendation is set aside.")
        expect(page.locator(".page-head .big")).to_contain_text("₩90")
        search.get_by_role("button", name="Dismiss").click()
        expect(page.locator(".page-head .big")).to_have_count(0)
        aside = page.locator("section", has=page.locator("#aside"))
        put_off, dismissed = aside.locator("li").all()
        expect(put_off).to_contain_text("of chat/1 demo repeat")
        expect(put_off).to_contain_text(re.compile(r"until [A-Z][a-z]{2} \d"))
        expect(dismissed).to_contain_text("until it is shown again")
        assert violations(page) == []
        dismissed.get_by_role("button", name="Show again").click()
        expect(page.locator(".page-head .big")).to_contain_text("₩90")
        expect(aside.locator("li")).to_have_count(1)
    with visit(browser, proxy, "VIEWER") as page:
        page.goto(f"{proxy.admin_url}/optimize")
        expect(page.locator("main form")).to_have_count(0)


def test_a_viewer_sees_no_buttons_and_cannot_act_by_hand(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy, role="VIEWER") as page:
        page.goto(f"{proxy.admin_url}/emergency")
        assert page.locator("main form").count() == 0
        csrf = page.locator("form[action='/logout'] [name=csrf]").get_attribute("value")
        cookies = {one["name"]: one["value"] for one in page.context.cookies()}
        form = {"csrf": csrf, "reason": "by hand", "until": "1h"}
        with httpx.Client(trust_env=False, cookies=cookies) as client:
            answer = client.post(f"{proxy.admin_url}/do/emergency/bypass", data=form)
            assert answer.status_code == 303
            assert client.post(f"{proxy.admin_url}/do/emergency/bypass", data={**form, "csrf": "x"}).status_code == 303
        page.reload()
        expect(page.locator("section:has(#force) .rows .state")).to_have_count(0)


def test_a_form_of_another_site_does_nothing(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy) as page:
        cookies = {one["name"]: one["value"] for one in page.context.cookies()}
        csrf = page.locator("form[action='/logout'] [name=csrf]").get_attribute("value")
    form = {"csrf": csrf, "reason": "x", "until": "1h"}
    with httpx.Client(trust_env=False, cookies=cookies) as client:
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            answer = client.post(f"{proxy.admin_url}/do/emergency/stop", data=form, headers=headers)
            assert answer.status_code == 403
    assert httpx.get(f"{proxy.url}/chat/v1/models", trust_env=False).status_code == 200


def test_a_lift_lets_calls_pass_above_the_restrict_line(browser: Browser, proxy: RunningProxy) -> None:
    while search(proxy)[0] == 200:
        pass
    assert search(proxy)[0] in (402, 503)
    with visit(browser, proxy) as page:
        expect(page.locator("section", has=page.locator("#restricted"))).to_contain_text("only essential calls pass")
        page.goto(f"{proxy.admin_url}/emergency")
        act(page, "lift", target="all", until="1h", reason="a launch")
        assert search(proxy) == (200, None)
        undo_all(page)
        assert search(proxy)[0] == 402
        act(page, "increase", budget="monthly", amount="1000", reason="the other tests go on")


def test_nobody_sees_a_page_without_a_token(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy, role="") as page:
        page.goto(f"{proxy.admin_url}/usage?days=7")
        assert page.url.startswith(f"{proxy.admin_url}/login?next=")
        assert violations(page) == []
        page.fill("#token", TOKENS["TOKEN_VIEWER"])
        page.click("main button")
        page.wait_for_url(f"{proxy.admin_url}/usage?days=7")
        cookie = next(one for one in page.context.cookies() if one["name"] == "spendgate_session")
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.click("details.menu summary")
        page.click("text=Sign out")
        page.wait_for_url(f"{proxy.admin_url}/login")
        page.goto(proxy.admin_url)
        assert "/login" in page.url


def test_wrong_tokens_are_slowed_down(proxy: RunningProxy) -> None:
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.9")  # the other tests' address is not to be slowed down
    with httpx.Client(trust_env=False, transport=elsewhere) as client:
        answers = [client.post(f"{proxy.admin_url}/login", data={"token": "wrong"}) for _ in range(9)]
        assert [answer.status_code for answer in answers] == [403] * 8 + [429]
        late = client.post(f"{proxy.admin_url}/login", data={"token": TOKENS["TOKEN_ADMIN"]})
        assert late.status_code == 429
        assert "Set-Cookie" not in late.headers


def test_secrets_stay_out_of_pages_and_every_page_carries_its_policy(proxy: RunningProxy) -> None:
    with httpx.Client(trust_env=False) as client:
        answer = client.get(f"{proxy.admin_url}/login")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert client.get(f"{proxy.admin_url}/static/0000000000/app.css").status_code == 404
        assert client.get(f"{proxy.admin_url}/live?page=overview").status_code == 404


def test_a_page_with_all_its_files_weighs_less_than_200_kb(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy) as page:
        names = page.goto(f"{proxy.admin_url}/usage") and page.evaluate(
            "[document.documentElement.outerHTML.length, ...performance.getEntriesByType('resource')"
            ".filter(one => one.name.includes('/static/')).map(one => one.decodedBodySize)]"
        )
        assert len(names) > 5
        assert sum(names) < 200_000


def test_a_form_that_came_with_the_news_acts_as_this_session(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy, "OPERATOR") as page:
        page.goto(f"{proxy.admin_url}/alerts")
        expect(page.locator("#pulse.live")).to_be_visible()
        opened(proxy, ENVIRONMENT, storm("3a1b2c3d", "map"))
        page.locator("#i-3a1b2c3d").get_by_role("button", name="I have seen it").click()
        expect(page.locator(".notice.done")).to_be_visible()
        expect(page.locator("#i-3a1b2c3d")).to_contain_text("olaf")


def test_a_page_says_when_its_news_stop_and_goes_on_by_itself(browser: Browser, proxy: RunningProxy) -> None:
    with visit(browser, proxy, broken=True) as page:
        expect(page.locator("#pulse.live")).to_be_visible()
        system = httpx.get(
            f"{proxy.admin_url}/api/v1/system",
            headers={"Authorization": f"Bearer {TOKENS['TOKEN_ADMIN']}"},
            trust_env=False,
        ).json()
        os.kill(int(system["leader"]["place"].rpartition(":")[2]), signal.SIGKILL)
        expect(page.locator("#pulse.lost")).to_be_visible()
        expect(page.locator("#pulse.live")).to_be_visible(timeout=30_000)  # a new process starts meanwhile
        spent = page.locator("dl.facts dd").first
        before = spent.inner_text()
        assert spend(proxy).status_code == 200
        expect(spent).not_to_have_text(before, timeout=3_000)
