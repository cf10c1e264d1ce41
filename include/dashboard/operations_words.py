"""How stream, sources and runs fare, in words and signs: told without colour. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from include.dashboard.formatting import age_text
from include.dashboard.operations_view import StreamPicture
from include.dashboard.quality_words import FAILED, PASSED, WARNED, Overall
from include.dashboard.remembered import Known
from include.sources.health import CLOSED, Health
from include.storage.lease import STALE_AFTER_SECONDS, StreamState
from include.storage.operations_rows import SourceRow

AGAIN = "◐"
WANTS = {
    "bar60": "minute bars",
    "bar86400": "daily bars",
    "quote": "quotes",
    "trade": "trades",
    "action": "splits and dividends",
}
_ERRORS = {
    "RateLimited": "asked too fast",
    "QuotaExhausted": "its quota is used",
    "Banned": "it has banned us",
    "AuthStale": "it refuses our key",
    "GeoBlocked": "it refuses this place",
    "Stale": "it had nothing new",
}
_RUN_SIGNS = {"success": PASSED, "failed": FAILED, "running": AGAIN, "queued": "…"}


def stale_words(known: Known[Any]) -> str | None:
    """What is said over a panel whose source does not answer; None while it does."""
    if known.failure is None or known.at is None:
        return None
    return f"{_sentence(known.failure)}: this is as of {known.at:%H:%M:%S} UTC; trying again."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def stream_state(known: Known[StreamPicture], now: datetime) -> Overall:
    """The line on top of the page."""
    if known.value is None:
        if known.failure is None:
            return Overall("…", "waiting", "Looking at the stream", "one moment")
        return Overall(FAILED, "bad", "The state of the stream is not known", _sentence(known.failure))
    lease = known.value.lease
    if lease is None:
        return Overall("?", "waiting", "The stream has never been started", "market_stream in Airflow starts it")
    who = _owner(lease, now)
    if lease.desired_state == "stopped":
        by = f"wanted by {lease.desired_by or 'nobody named'}" + (f": {lease.desired_why}" if lease.desired_why else "")
        if lease.owner is None:
            return Overall("■", "waiting", "The stream is stopped", f"{by} · start it by market_stream, action = start")
        return Overall(AGAIN, "warn", "The stream is stopping", f"{by} · {who}")
    if lease.owner is None:
        reason = f"last error: {lease.last_error}" if lease.last_error else "no error was left"
        return Overall(FAILED, "bad", "The stream is down", f"{reason} · market_stream starts it within a minute")
    if not is_alive(lease, now):
        return Overall(FAILED, "bad", "The stream is silent", f"{who} · market_stream replaces it if it stays so")
    lag = "lag not known" if lease.lag is None else f"lag {lease.lag:,} events"
    return Overall(PASSED, "good", "The stream is running", f"{lag} · {who}")


def clock_words(known: Known[StreamPicture], now: datetime) -> dict[str, Any]:
    """What the browser's clock in the header says and goes on counting from: `words`, `kind`, `title`, and `seconds`
    that what is told is old (None: no age is told)."""
    found = stream_state(known, now)
    kind = {"good": "good", "waiting": "waiting"}.get(found.kind, "trouble")
    if known.value is None:
        return _told("Stream not known", kind, found.detail)
    if known.failure is not None and known.at is not None:
        return _told("Database down", "trouble", "showing what was known last", now - known.at)
    lease = known.value.lease
    beat = lease.heartbeat_at if lease and lease.owner else None
    return _told(found.title.removeprefix("The ").capitalize(), kind, found.detail, now - beat if beat else None)


def _told(words: str, kind: str, title: str, age: timedelta | None = None) -> dict[str, Any]:
    return {"words": words, "kind": kind, "title": title, "seconds": None if age is None else age.total_seconds()}


def is_alive(lease: StreamState, now: datetime) -> bool:
    """Somebody holds the lease and has said so lately."""
    beat = lease.heartbeat_at
    return lease.owner is not None and beat is not None and now - beat < timedelta(seconds=STALE_AFTER_SECONDS)


def _owner(lease: StreamState, now: datetime) -> str:
    if lease.owner is None:
        return f"epoch {lease.epoch}, nobody owns the lease"
    beat = age_text((now - lease.heartbeat_at).total_seconds()) + " ago" if lease.heartbeat_at else "never"
    since = f", since {lease.started_at:%Y-%m-%d %H:%M} UTC" if lease.started_at else ""
    return f"epoch {lease.epoch}{since}, last heartbeat {beat}"


def watermark_of(text: Any) -> datetime | None:
    """Spark's word for it; None before the first event, which Spark tells as the year 1970."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment if moment.year > 1970 else None


def health_of(row: SourceRow | None) -> Health:
    """As the gate has it; closed for a source that was never asked."""
    return msgspec.convert(row.health, Health) if row is not None and row.health else CLOSED


def source_state(health: Health, now: datetime) -> tuple[str, str, str]:
    """Sign, kind (good, warn, bad, waiting) and words of the breaker."""
    until = datetime.fromtimestamp(health.until, UTC)
    if health.state == "closed" and not health.failures:
        return PASSED, "good", "well"
    if health.state == "closed":
        times = "once" if health.failures == 1 else f"{health.failures} times"
        return WARNED, "warn", f"well, but failed {times} of late"
    if health.state == "half_open" or until <= now:
        return AGAIN, "warn", "being tried again"
    left = age_text((until - now).total_seconds())
    return FAILED, "bad", f"left alone until {moment_of(until, now)} UTC, for {left}"


def trouble_of(health: Health) -> str:
    """The last error, in words; empty without one."""
    if not health.error and not health.reason:
        return ""
    kind = _ERRORS.get(health.error, health.error)
    return f"{kind}: {health.reason}" if kind and health.reason else kind or health.reason


def moment_of(moment: datetime, now: datetime) -> str:
    """The time alone where it is today's."""
    return f"{moment:%H:%M:%S}" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M}"


def window_words(seconds: int) -> str:
    """`a minute`, `an hour`, `31 days`."""
    for length, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length and seconds % length == 0:
            count = seconds // length
            return f"{count} {word}s" if count > 1 else f"{'an' if word == 'hour' else 'a'} {word}"
    return f"{seconds} s"


def retention_words(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "for ever"
    hours = milliseconds / 3_600_000
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"


def run_sign(state: str) -> str:
    return _RUN_SIGNS.get(state, "?")


def duration_words(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
