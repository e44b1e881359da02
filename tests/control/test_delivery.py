"""Deliveries to real receivers: at least once, signed, retried, gathered, and never with a secret in the log."""

from __future__ import annotations

import asyncio
import json

import pytest
import structlog

from proxy.control.alerts import ATTEMPTS, due_ms
from proxy.control.delivery import Deliverer
from proxy.control.messages import Message
from proxy.control.notify import NotSent, Sender
from proxy.core.alert_model import Alert, Channel, Kind, Severity
from proxy.state.outbox import Outbox
from tests.control.conftest import Lead
from tests.control.receivers import Webhook, mail_sink, verified, webhook
from tests.state.calls import SEOUL, at

# apprise imports a module of the standard library that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SECRET = "hidden-signing-secret"
WEBHOOK = """
version: 1
language: en
budgets: [{name: monthly, limit: 15000}]
apis: [{name: openai, upstream: "https://a.example.com", prices: [{per_request: 1}]}]
alerts:
  - {name: hook, webhook_env: HOOK, secret_env: SECRET, min_severity: info%s}
"""


def use_webhook(lead: Lead, receiver: Webhook, more: str = "") -> None:
    lead.use(WEBHOOK % more, HOOK=receiver.url, SECRET=SECRET)


async def tell(lead: Lead, name: str, severity: Severity = Severity.WARNING, *, resolvable: bool = False) -> str:
    """Raise an alert to every channel; its id."""
    now = lead.clock()
    channels = [(one.name, due_ms(one, severity, SEOUL, now)) for one in lead.rules.channels]
    alert = Alert(Kind.BREAKER, severity, f"breaker:{name}", None, {"api": name, "until": "2026-11-23T13:00:00+09:00"})
    told = await Outbox(lead.client, lead.keys).raise_alert(
        alert, f"id-{name}", channels, now, SEOUL, resolvable=resolvable, fence=lead.fence
    )
    assert told
    return f"id-{name}"


class Post:
    """A leader's deliverer, stepped by the test."""

    def __init__(self, lead: Lead) -> None:
        self.lead = lead
        self.sender = Sender()
        self.deliverer = Deliverer(lead.context(), self.sender)

    async def __aenter__(self) -> Post:
        await self.deliverer.claim()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.deliverer.close()
        await self.sender.close()

    async def step(self) -> None:
        await self.deliverer.step(self.lead.clock())
        await self.deliverer.settle()


async def state_of(lead: Lead, alert_id: str, channel: str = "hook", phase: str = "raised") -> dict[str, object]:
    found = (await Outbox(lead.client, lead.keys).find([alert_id]))[alert_id].deliveries
    return dict(found.get((channel, phase), {}))


async def test_a_webhook_gets_signed_json_once(lead: Lead) -> None:
    async with webhook() as receiver, Post(lead) as post:
        use_webhook(lead, receiver)
        one = await tell(lead, "openai")
        await post.step()
        await post.step()
    ((headers, body),) = receiver.requests
    assert verified(SECRET, headers, body)
    assert not verified(SECRET, headers, body + b" ")
    assert not verified("other", headers, body)
    document = json.loads(body)
    assert document["type"] == "spendgate.alert"
    assert document["data"]["title"] == "openai: the circuit is open"
    assert document["data"]["alerts"][0] == {
        "id": one,
        "kind": "breaker",
        "severity": "warning",
        "state": "raised",
        "budget": None,
        "raised_at": "2026-11-23T12:00:00.000+09:00",
        "resolved_at": None,
        "facts": {"api": "openai", "until": "2026-11-23T13:00:00+09:00"},
    }
    assert headers["webhook-timestamp"] == str(lead.clock() // 1000)
    assert (await state_of(lead, one))["state"] == "sent"
    assert await Outbox(lead.client, lead.keys).waiting() == 0


async def test_a_receiver_that_was_down_gets_it_when_it_is_up_under_the_same_id(lead: Lead) -> None:
    async with webhook() as receiver, Post(lead) as post:
        use_webhook(lead, receiver)
        receiver.status = 503
        one = await tell(lead, "openai")
        await post.step()
        assert (await state_of(lead, one)) | {"at": ""} == {
            "state": "waiting",
            "attempts": 1,
            "at": "",
            "error": "HTTP 503",
            "due": "2026-11-23T12:00:05.000+09:00",
        }
        lead.clock.pass_s(4)
        await post.step()
        assert len(receiver.requests) == 1  # not yet
        lead.clock.pass_s(1)
        await post.step()
        receiver.status = 204
        lead.clock.pass_s(15)
        await post.step()
    assert len(receiver.requests) == 3
    assert len(set(receiver.ids)) == 1
    assert (await state_of(lead, one))["attempts"] == 3


async def test_a_receiver_says_when_to_come_again(lead: Lead) -> None:
    async with webhook() as receiver, Post(lead) as post:
        use_webhook(lead, receiver)
        receiver.status, receiver.headers = 429, {"Retry-After": "120"}
        await post.step()
        await tell(lead, "openai")
        await post.step()
        lead.clock.pass_s(119)
        await post.step()
        assert len(receiver.requests) == 1
        lead.clock.pass_s(1)
        await post.step()
        assert len(receiver.requests) == 2


async def test_what_fails_for_good_is_dead_until_somebody_tries_it_again(lead: Lead) -> None:
    outbox = Outbox(lead.client, lead.keys)
    async with webhook() as receiver, Post(lead) as post:
        use_webhook(lead, receiver)
        receiver.status = 500
        one = await tell(lead, "openai")
        for _ in range(ATTEMPTS):
            await post.step()
            lead.clock.pass_s(3600)
        assert len(receiver.requests) == ATTEMPTS
        (letter,) = await outbox.dead()
        assert (letter.alert, letter.channel, letter.attempts, letter.error) == (one, "hook", ATTEMPTS, "HTTP 500")
        assert (await state_of(lead, one))["state"] == "dead"
        await post.step()
        assert len(receiver.requests) == ATTEMPTS
        receiver.status = 204
        assert await outbox.retry([letter.entry, "1-1"], lead.clock()) == 1
        assert await outbox.retry([letter.entry], lead.clock()) == 0
        await post.step()
    assert await outbox.dead() == []
    assert (await state_of(lead, one))["state"] == "sent"
    assert len(set(receiver.ids)) == 1


async def test_a_leader_that_dies_between_reading_and_delivering_loses_nothing(lead: Lead) -> None:
    async with webhook() as receiver:
        use_webhook(lead, receiver)
        one = await tell(lead, "openai")
        dead = await Outbox(lead.client, lead.keys).take("leader-1")
        assert [delivery.alert for delivery in dead] == [one]
        await lead.elect(2)
        async with Post(lead) as post:
            await post.step()
        assert receiver.ids == [f"{one}.raised.hook"]


async def test_a_leader_that_dies_while_it_sends_repeats_under_the_same_id(lead: Lead) -> None:
    async with webhook() as receiver:
        use_webhook(lead, receiver)
        receiver.hold = asyncio.Event()
        one = await tell(lead, "openai")
        first = Post(lead)
        await first.deliverer.claim()
        await first.deliverer.step(lead.clock())
        await asyncio.wait_for(receiver.got.wait(), 5)
        await first.__aexit__()  # cancelled in the middle, nothing acknowledged
        receiver.hold.set()
        receiver.hold = None
        await lead.elect(2)
        async with Post(lead) as post:
            await post.step()
        assert receiver.ids == [f"{one}.raised.hook"] * 2
        assert await Outbox(lead.client, lead.keys).waiting() == 0


async def test_one_dead_channel_holds_up_no_other(lead: Lead) -> None:
    async with webhook() as slow, webhook() as quick, Post(lead) as post:
        lead.use(
            WEBHOOK % "" + "  - {name: other, webhook_env: OTHER, secret_env: SECRET}\n",
            HOOK=slow.url,
            OTHER=quick.url,
            SECRET=SECRET,
        )
        slow.hold = asyncio.Event()
        await tell(lead, "first")
        await post.deliverer.step(lead.clock())
        await tell(lead, "second")
        async with asyncio.timeout(5):
            while len(quick.requests) < 2:  # the slow one has not answered its first
                await post.deliverer.step(lead.clock())
                await asyncio.sleep(0.01)
        assert len(slow.requests) == 1
        slow.hold.set()
        await post.step()
        await post.step()
    assert sorted(slow.ids) == ["id-first.raised.hook", "id-second.raised.hook"]


async def test_quiet_hours_hold_back_what_is_not_critical_until_they_end(lead: Lead) -> None:
    lead.clock.now_ms = at("2026-11-23T23:00:00+09:00")
    async with webhook() as receiver, Post(lead) as post:
        use_webhook(lead, receiver, ', quiet_hours: {from: "22:00", to: "08:00"}')
        await tell(lead, "small")
        await tell(lead, "large", Severity.CRITICAL)
        await post.step()
        assert [alert["id"] for alert in receiver.alerts] == ["id-large"]
        lead.clock.now_ms = at("2026-11-24T07:59:59+09:00")
        await post.step()
        assert len(receiver.requests) == 1
        lead.clock.pass_s(1)
        await post.step()
    assert [alert["id"] for alert in receiver.alerts] == ["id-large", "id-small"]


async def test_a_group_is_told_in_one_message(lead: Lead) -> None:
    async with webhook() as receiver, Post(lead) as post:
        use_webhook(lead, receiver, ", group: 5m")
        await tell(lead, "one")
        await post.step()
        await tell(lead, "two")
        await post.step()
        await tell(lead, "three")
        await post.step()
        assert len(receiver.requests) == 1
        await tell(lead, "four", Severity.CRITICAL)
        await post.step()
        assert len(receiver.requests) == 2  # at once
        lead.clock.pass_s(300)
        await post.step()
    assert len(receiver.requests) == 3
    last = json.loads(receiver.requests[-1][1])["data"]
    assert last["title"].startswith("2 alerts, the most serious:")
    assert sorted(alert["id"] for alert in last["alerts"]) == ["id-three", "id-two"]


async def test_what_is_over_is_told_to_those_who_were_told(lead: Lead) -> None:
    async with webhook() as receiver, Post(lead) as post:
        use_webhook(lead, receiver)
        one = await tell(lead, "openai", resolvable=True)
        await post.step()
        lead.clock.pass_s(60)
        outbox = Outbox(lead.client, lead.keys)
        for expected in (True, False):
            assert await outbox.resolve("breaker:openai", one, [("hook", 0)], lead.clock(), SEOUL, 1) is expected
        await post.step()
    assert [alert["state"] for alert in receiver.alerts] == ["raised", "resolved"]
    assert json.loads(receiver.requests[1][1])["data"]["title"] == "Over: openai: the circuit is open"


async def test_a_channel_that_left_the_rules_drops_its_deliveries(lead: Lead) -> None:
    async with webhook() as receiver, Post(lead) as post:
        use_webhook(lead, receiver)
        one = await tell(lead, "openai")
        lead.use(WEBHOOK.partition("alerts:")[0])
        await post.step()
        assert receiver.requests == []
    assert (await state_of(lead, one))["state"] == "dropped"
    assert await Outbox(lead.client, lead.keys).waiting() == 0


async def test_a_mail_arrives_through_apprise_in_korean_with_its_id_in_a_header(lead: Lead) -> None:
    async with mail_sink() as sink, Post(lead) as post:
        target = f"mailto://127.0.0.1:{sink.port}/?from=spendgate@example.com&to=team@example.com"
        lead.use(WEBHOOK.partition("alerts:")[0] + "alerts: [{name: mail, url_env: MAIL, language: ko}]\n", MAIL=target)
        one = await tell(lead, "openai")
        await post.step()
        (mail,) = sink.mails
        assert mail["Subject"] == "openai: 회로가 열렸습니다"
        assert mail["To"] == "team@example.com"
        assert mail["X-Spendgate-Delivery"] == f"{one}.raised.mail"
        text = mail.get_body(("plain", "html"))
        assert text is not None
        assert "openai 호출이 너무 많이 실패해서 회로가 열렸습니다." in text.get_content()


@pytest.mark.parametrize(
    "target",
    ["json://user:hidden-password@127.0.0.1:1/hidden-path", "nosuchservice://hidden-token/x", "slack://hidden"],
)
async def test_a_failure_tells_its_reason_and_no_secret(
    lead: Lead, target: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    sender = Sender()
    channel, message = Channel("team", target=target), Message("title", "body", Severity.WARNING)
    with structlog.testing.capture_logs() as logs, pytest.raises(NotSent) as failed:
        await sender.send(channel, message, [], "id", lead.clock())
    await sender.close()
    told = f"{failed.value} {logs} {capfd.readouterr()} {caplog.text} {channel!r}"
    assert "hidden" not in told
    assert channel.way in str(failed.value)


async def test_a_webhook_that_cannot_be_reached_tells_no_address(lead: Lead) -> None:
    sender = Sender()
    channel = Channel("team", webhook="http://127.0.0.1:1/hidden", secret=SECRET)
    with pytest.raises(NotSent) as failed:
        await sender.send(channel, Message("title", "body", Severity.WARNING), [], "id", lead.clock())
    await sender.close()
    assert str(failed.value) == "cannot connect: Connection refused"
