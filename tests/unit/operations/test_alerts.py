"""Alerts on their way: what a message says, and real channels that take it or do not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.operations.alert_channels import Log, Mail, NotDelivered, Slack, channels
from include.operations.alerts import LINES_SHOWN, message, send_test
from include.settings import Settings
from include.storage.alerts import Alert
from tests.letterbox import HOST, MailServer, Webhook, mail_server, webhook

AT = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
ALERT = Alert(
    id=1,
    kind="quality",
    subject="candles_keys_unique",
    severity="critical",
    symbol=None,
    title="Quality check candles_keys_unique fails",
    body="2 rows fail\nhttp://127.0.0.1:8050/quality?run=r",
    raised_at=AT,
    times_seen=1,
)
LINES = ["critical: x <b> & y", "second"]


@pytest.fixture
def slack() -> Iterator[Webhook]:
    with webhook() as box:
        yield box


@pytest.fixture
def post(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path) as box:
        yield box


def mail(post: MailServer, login: tuple[str, str] | None = None) -> Mail:
    return Mail("on-call@example.com", HOST, post.port, login, post.trusted())


def test_a_message_counts_and_has_the_worst_first() -> None:
    later = replace(ALERT, id=2, severity="high", title="AAPL: price\nout", body="", times_seen=3)
    subject, lines = message([later, ALERT], "sandbox")
    assert subject == "[SANDBOX] 2 alerts: 1 critical, 1 high"
    assert lines == [
        "critical: Quality check candles_keys_unique fails, since 2026-03-02 14:00 UTC",
        "2 rows fail",
        "http://127.0.0.1:8050/quality?run=r",
        "high: AAPL: price out, since 2026-03-02 14:00 UTC (seen 3 times)",
    ]


def test_a_flood_is_one_message_that_a_person_can_read() -> None:
    flood = [replace(ALERT, id=number, body="", raised_at=AT + timedelta(seconds=number)) for number in range(500)]
    subject, lines = message(flood, "live")
    assert subject == "[LIVE] 500 alerts: 500 critical"
    assert len(lines) == LINES_SHOWN + 1
    assert lines[-1] == f"and {500 - LINES_SHOWN} more: see the table alerts"


def test_slack_gets_plain_text(slack: Webhook) -> None:
    Slack(slack.url).send("[LIVE] 1 alert", LINES)
    assert slack.texts == ["*[LIVE] 1 alert*\ncritical: x &lt;b&gt; &amp; y\nsecond"]


def test_what_slack_refuses_is_said_without_the_webhook(slack: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    slack.status = 404
    with pytest.raises(NotDelivered, match="Slack answered 404: is SLACK_WEBHOOK_URL right\\?") as refused:
        Slack(slack.url).send("s", LINES)
    slack.status = 200
    Slack(slack.url).send("s", LINES)
    with pytest.raises(NotDelivered, match="ConnectError") as gone:
        Slack("http://127.0.0.1:1/services/verysecret").send("s", LINES)
    with pytest.raises(NotDelivered) as wrong:
        Slack("verysecret").send("s", LINES)
    for told in (f"{refused.value}", f"{gone.value}", f"{wrong.value}", caplog.text):
        assert "verysecret" not in told


def test_mail_goes_over_tls_with_a_login(post: MailServer) -> None:
    mail(post, ("robot@example.com", "hunter2")).send("[LIVE] 1 alert: 1 critical", LINES)
    (came,) = post.inbox
    assert (came["Subject"], came["To"], came["From"]) == (
        "[LIVE] 1 alert: 1 critical",
        "on-call@example.com",
        "robot@example.com",
    )
    assert came.get_payload().splitlines() == LINES
    assert len(post.logins) == 1
    mail(post).send("s", LINES)
    assert post.inbox[1]["From"] == "on-call@example.com"
    assert len(post.logins) == 1


def test_mail_is_never_sent_in_the_clear(post: MailServer) -> None:
    post.offers_tls = False
    with pytest.raises(NotDelivered, match="SMTPNotSupportedError"):
        mail(post).send("s", LINES)
    assert post.inbox == []


def test_a_server_that_nobody_vouches_for_gets_nothing(post: MailServer) -> None:
    with pytest.raises(NotDelivered, match="SSLCertVerificationError"):
        Mail("on-call@example.com", HOST, post.port).send("s", LINES)
    assert post.inbox == []


def test_what_the_mail_server_says_is_not_repeated(post: MailServer) -> None:
    post.refuses = True
    with pytest.raises(NotDelivered, match="550") as refused:
        mail(post).send("s", LINES)
    assert "secret" not in str(refused.value)
    with pytest.raises(NotDelivered, match="ConnectionRefusedError"):
        Mail("on-call@example.com", HOST, 1).send("s", LINES)


def test_the_channels_are_those_that_are_set_up(slack: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    assert [way.name for way in channels(Settings())] == ["log"]
    chosen = Settings(slack_webhook_url=slack.url, alert_email="a@example.com", smtp_host="mail.example.com")
    assert [way.name for way in channels(chosen)] == ["log", "Slack", "mail"]
    assert caplog.text == ""
    assert [way.name for way in channels(Settings(alert_email="a@example.com"))] == ["log"]
    assert "SMTP_HOST is not" in caplog.text


def test_a_test_message_goes_everywhere_and_says_where_it_did_not(
    slack: Webhook, post: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    ways = [Log(), Slack(slack.url), mail(post)]
    assert send_test(ways, "replay") == ["log", "Slack", "mail"]
    assert slack.texts[0].startswith("*[REPLAY] Test message*")
    assert post.inbox[0]["Subject"] == "[REPLAY] Test message"
    assert "somebody asked for this test" in caplog.text
    slack.status = 500
    with pytest.raises(NotDelivered, match="Slack answered 500"):
        send_test(ways, "replay")
    assert len(post.inbox) == 2, "one that fails does not keep the message from the others"
