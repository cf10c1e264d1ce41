"""What becomes an alert, and how alerts reach people. Each step may be done twice without harm."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from include.operations.alert_channels import Channel, NotDelivered
from include.storage.alerts import Alert, AlertStore, FoundAnomaly
from include.storage.quality_store import REACH

#: An anomaly is visible when its batch has committed, later than `detected_at`; a repair may make it worse later still.
OVERLAP = timedelta(hours=1)
#: The last minute of a window comes so long after its end; until then an anomaly may be no more than what is missing.
SETTLES = timedelta(minutes=2)
#: What was found while nobody looked for longer is no news.
OLDEST = timedelta(days=1)
ANOMALIES_AT_ONCE = 1_000
DELIVERED_AT_ONCE = 500
LINES_SHOWN = 20
#: Subject of the alert that says so.
UNCHECKED = "check_data_quality"

_SEVERITIES = ("critical", "high", "warning")
_log = logging.getLogger(__name__)

#: By channel, the versions of alerts that it has had and another channel has not.
Told = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Anomalies:
    """What a look at the anomalies changed; the next one begins `OVERLAP` before `detected_through`."""

    raised: int
    withdrawn: int
    over: int
    detected_through: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """`failed` has channel and reason; `told` is what the next delivery must know."""

    delivered: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)


def notify_quality(
    database_url: str, run_id: str, failing: Mapping[str, str], link: str, *, resolve: bool = True
) -> dict[str, int]:
    """Alerts of a run of the checks: raised for its `failing` critical ones (name to words), resolved for those that
    passed in it where it looked at all that failed; `resolve=False` for a run over some symbols, which proves nothing
    about the others.

    `link` is the run's page. They are delivered by notify_anomalies, within a minute. Raises psycopg.Error.
    """
    with AlertStore(database_url) as store:
        new = sum(
            store.raise_alert("quality", name, "critical", f"Quality check {name} fails", f"{words}\n{link}")
            for name, words in failing.items()
        )
        passed = [name for name in store.passed_checks(run_id, REACH) if name not in failing] if resolve else []
        resolved = store.resolve("quality", passed)
    return {"failing": len(failing), "new": new, "resolved": resolved}


def notify_unchecked(database_url: str, link: str, *, failed: bool) -> None:
    """The alert of a run that could not check anything; resolved by the next one that can. Raises psycopg.Error."""
    with AlertStore(database_url) as store:
        if failed:
            store.raise_alert("pipeline", UNCHECKED, "critical", "The quality of the data is not checked", link)
        else:
            store.resolve("pipeline", [UNCHECKED])


def notify_anomalies(store: AlertStore, detected_through: datetime | None) -> Anomalies:
    """Raise alerts for new anomalies of severity high or critical, resolve those of withdrawn and of old ones.

    `detected_through` is that of the look before; None at the first. Raises psycopg.Error.
    """
    now = store.now()
    since = max((detected_through or now) - OVERLAP, now - OLDEST)
    found = store.new_anomalies(since, SETTLES, ANOMALIES_AT_ONCE)
    for anomaly in found:
        store.raise_alert("anomaly", anomaly.subject, anomaly.severity, *_words(anomaly), anomaly.symbol)
    # A flood is taken in parts: those that have their alert are not found again.
    through = now if len(found) < ANOMALIES_AT_ONCE else since + OVERLAP
    return Anomalies(len(found), store.withdraw_anomalies(), store.end_old_anomalies(), through)


def deliver(store: AlertStore, channels: Sequence[Channel], market: str, told: Told) -> Delivery:
    """Send every channel the open alerts that it has not had, as one message.

    An alert is delivered when all had it. A channel that fails gets it with the next delivery, and the others do
    not get it twice as long as `told` is that of the delivery before. Raises psycopg.Error.
    """
    seen: dict[str, Alert] = {}
    had: dict[str, set[str]] = {}
    failed: dict[str, str] = {}
    for channel in channels:
        had[channel.name] = set(told.get(channel.name, ()))
        fresh = {alert.version: alert for alert in store.undelivered(DELIVERED_AT_ONCE, had[channel.name])}
        seen |= fresh
        try:
            if fresh:
                channel.send(*message(list(fresh.values()), market))
        except NotDelivered as error:
            _log.warning("%s; it is tried again in a minute", error)
            failed[channel.name] = str(error)
        else:
            had[channel.name] |= fresh.keys()
    done = [alert for version, alert in seen.items() if all(version in versions for versions in had.values())]
    store.mark_delivered(done)
    waiting = store.waiting()
    partly = {name: sorted(versions & waiting) for name, versions in had.items() if versions & waiting}
    return Delivery(len(done), failed, partly)


def send_test(channels: Sequence[Channel], market: str) -> list[str]:
    """A test notice to every channel; their names. Raises NotDelivered with all that failed."""
    failures = []
    for channel in channels:
        try:
            channel.send(
                f"[{market.upper()}] Test message",
                [
                    "Alerts of the market-data platform reach you here.",
                    "Nothing is wrong: somebody asked for this test.",
                ],
            )
        except NotDelivered as error:
            failures.append(str(error))
    if failures:
        raise NotDelivered("; ".join(failures))
    return [channel.name for channel in channels]


def message(alerts: Sequence[Alert], market: str) -> tuple[str, list[str]]:
    """Subject and lines: the worst first, no more than a person reads. Pure."""
    worst_first = sorted(alerts, key=lambda alert: (_SEVERITIES.index(alert.severity), alert.raised_at))
    counted = Counter(alert.severity for alert in alerts)
    listed = ", ".join(f"{counted[severity]} {severity}" for severity in _SEVERITIES if counted[severity])
    noun = "alert" if len(alerts) == 1 else "alerts"
    lines = [line for alert in worst_first[:LINES_SHOWN] for line in _lines(alert)]
    if len(alerts) > LINES_SHOWN:
        lines.append(f"and {len(alerts) - LINES_SHOWN} more: see the table alerts")
    return f"[{market.upper()}] {len(alerts)} {noun}: {listed}", lines


def _lines(alert: Alert) -> list[str]:
    again = f" (seen {alert.times_seen} times)" if alert.times_seen > 1 else ""
    head = f"{alert.severity}: {alert.title}, since {alert.raised_at:%Y-%m-%d %H:%M} UTC{again}"
    return [" ".join(head.split()), *(" ".join(line.split()) for line in alert.body.splitlines())]


def _words(anomaly: FoundAnomaly) -> tuple[str, str]:
    """Title and body: how far from usual, never the figure itself."""
    usual = "return" if anomaly.metric == "price" else "volume"
    side = "above" if anomaly.z_score > 0 else "below"
    return (
        f"{anomaly.symbol}: {anomaly.metric} out of the ordinary",
        f"{anomaly.interval} candle of {anomaly.window_start:%Y-%m-%d %H:%M} UTC: {abs(anomaly.z_score):.1f} standard "
        f"deviations {side} its usual {usual}",
    )
