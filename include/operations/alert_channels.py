"""The ways an alert goes: the log always, Slack and mail where they are set up."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate
from typing import Protocol

import httpx2

from include.errors import MarketDataError
from include.settings import Settings

SECONDS = 10.0

_log = logging.getLogger(__name__)
# httpx2 writes each URL to its log, and a webhook's URL is its secret.
logging.getLogger("httpx2").addFilter(lambda record: record.levelno > logging.INFO)


class NotDelivered(MarketDataError):
    """A channel did not take the message. Says why, and no secret."""

    retriable = True


class Channel(Protocol):
    """`name` is for people; `send` raises NotDelivered."""

    name: str

    def send(self, subject: str, lines: Sequence[str]) -> None: ...


class Log:
    """The task's own log."""

    name = "log"

    def send(self, subject: str, lines: Sequence[str]) -> None:
        for line in lines:
            _log.warning("alert: %s", line)


class Slack:
    """An incoming webhook."""

    name = "Slack"

    def __init__(self, webhook_url: str) -> None:
        self._url = webhook_url

    def send(self, subject: str, lines: Sequence[str]) -> None:
        text = "\n".join([f"*{_escaped(subject)}*", *map(_escaped, lines)])
        try:
            answer = httpx2.post(self._url, json={"text": text}, timeout=SECONDS)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # Their words may hold the URL.
            raise NotDelivered(f"Slack cannot be reached ({type(error).__name__})") from None
        if not answer.is_success:
            raise NotDelivered(f"Slack answered {answer.status_code}: is SLACK_WEBHOOK_URL right?")


class Mail:
    """A mail server with STARTTLS. Nothing is sent in the clear."""

    name = "mail"

    def __init__(
        self,
        to: str,
        host: str,
        port: int,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._to = to
        self._host = host
        self._port = port
        self._login = login
        self._tls = tls

    def send(self, subject: str, lines: Sequence[str]) -> None:
        message = EmailMessage()
        message["Subject"] = subject
        message["Date"] = formatdate()
        message["To"] = self._to
        message["From"] = self._login[0] if self._login and "@" in self._login[0] else self._to
        message.set_content("\n".join(lines))
        try:
            with smtplib.SMTP(self._host, self._port, timeout=SECONDS) as server:
                server.starttls(context=self._tls or ssl.create_default_context())
                if self._login:
                    server.login(*self._login)
                server.send_message(message)
        except smtplib.SMTPResponseException as error:
            # Its words may hold what was sent.
            raise NotDelivered(f"the mail server answered {error.smtp_code} ({type(error).__name__})") from None
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            raise NotDelivered(f"the mail server does not take it ({type(error).__name__})") from None


def channels(settings: Settings) -> list[Channel]:
    """Those that are set up."""
    found: list[Channel] = [Log()]
    if settings.slack_webhook_url is not None:
        found.append(Slack(settings.slack_webhook_url.get_secret_value()))
    if settings.alert_email and settings.smtp_host:
        login = None
        if settings.smtp_user and settings.smtp_password:
            login = (settings.smtp_user, settings.smtp_password.get_secret_value())
        found.append(Mail(settings.alert_email, settings.smtp_host, settings.smtp_port, login))
    elif settings.alert_email:
        _log.warning("ALERT_EMAIL is set and SMTP_HOST is not: no mail is sent")
    return found


def _escaped(text: str) -> str:
    """Slack's three special characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
