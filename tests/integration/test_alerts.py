"""Alerts in the real table, with the real roles: raised once, resolved, delivered once to each channel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.operations.alert_channels import Channel, Log, Mail, Slack
from include.operations.alerts import (
    ANOMALIES_AT_ONCE,
    DELIVERED_AT_ONCE,
    UNCHECKED,
    Delivery,
    deliver,
    notify_anomalies,
    notify_quality,
    notify_unchecked,
)
from include.storage import migrate
from include.storage.alerts import AlertStore
from tests.letterbox import HOST, MailServer, Webhook, mail_server, webhook
from tests.stores import Services
from tests.trial_database import trial_database

WINDOW = datetime(2026, 3, 2, 14, 3, tzinfo=UTC)
LINK = "http://127.0.0.1:8050/quality?run=r1"


@dataclass(frozen=True)
class Trial:
    owner_url: str
    writer_url: str
    checker_url: str

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def alerts(self) -> list[tuple[Any, ...]]:
        return self.execute(
            "SELECT subject, severity, times_seen, resolved_at IS NULL, delivered_at IS NOT NULL"
            " FROM alerts ORDER BY id"
        )

    def anomaly(self, severity: str = "critical", age: timedelta = timedelta(0), **changes: object) -> None:
        row = {"symbol": "BTC-USD", "interval": "1m", "window_start": WINDOW, "metric": "price", **changes}
        self.execute(
            "INSERT INTO price_anomalies (symbol, interval, window_start, metric, value, mean, stddev, z_score,"
            " severity, detected_at) VALUES (%s, %s, %s, %s, 0.987654, 0.1, 0.2, -6.41, %s, now() - %s)",
            *row.values(),
            severity,
            age,
        )


@pytest.fixture(scope="module")
def database(services: Services) -> Iterator[Trial]:
    with trial_database(services, "alerts") as owner_url:
        migrate.upgrade(owner_url, "sandbox")
        urls = [services.writer_database_url, services.checker_database_url]
        yield Trial(owner_url, *(url.replace("/financial_data", "/alerts") for url in urls))


@pytest.fixture
def trial(database: Trial) -> Trial:
    database.execute("TRUNCATE alerts, price_anomalies, data_quality_results")
    return database


@pytest.fixture
def store(trial: Trial) -> Iterator[AlertStore]:
    with AlertStore(trial.writer_url) as opened:
        yield opened


@pytest.fixture
def slack() -> Iterator[Webhook]:
    with webhook() as box:
        yield box


@pytest.fixture
def post(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path) as box:
        yield box


@pytest.fixture
def ways(slack: Webhook, post: MailServer) -> list[Channel]:
    return [Log(), Slack(slack.url), Mail("on-call@example.com", HOST, post.port, None, post.trusted())]


def told(store: AlertStore, ways: list[Channel], before: Delivery | None = None) -> Delivery:
    return deliver(store, ways, "sandbox", before.told if before else {})


@pytest.mark.parametrize(
    ("failed", "passed", "resolved"),
    [
        ((5, 0), (5, 0), 1),
        ((5, 0), (6, 0), 1),
        ((5, 0), (4, 0), 0),
        ((5, 0), (5, 1), 0),
        # An old day, by hand: no scheduled run comes as far, and its own day is proof enough.
        ((30 * 24, 29 * 24), (30 * 24, 29 * 24), 1),
        ((30 * 24, 0), (30 * 24, 29 * 24), 1),
        ((30 * 24, 29 * 24), (7 * 24, 0), 0),
    ],
)
def test_an_alert_is_over_only_where_a_run_looked_at_what_had_failed(
    trial: Trial, failed: tuple[int, int], passed: tuple[int, int], resolved: int
) -> None:
    _result(trial, "a", False, hours=failed)
    assert notify_quality(trial.checker_url, "r1", {"a": "3 rows fail"}, LINK)["new"] == 1
    _result(trial, "a", True, run_id="r2", hours=passed)
    assert notify_quality(trial.checker_url, "r2", {}, LINK)["resolved"] == resolved


def test_one_alert_is_open_for_a_subject_however_often_it_is_seen(trial: Trial, store: AlertStore) -> None:
    assert store.raise_alert("quality", "a", "warning", "A fails", "once", "AAPL")
    assert not store.raise_alert("quality", "a", "warning", "A fails", "twice", "AAPL")
    assert store.raise_alert("stream", "a", "critical", "A stands still")
    assert trial.alerts() == [("a", "warning", 2, True, False), ("a", "critical", 1, True, False)]
    (_, alert) = store.undelivered(10)
    assert (alert.body, alert.symbol) == ("twice", "AAPL")
    assert store.resolve("quality", ["a", "never raised"]) == 1
    assert store.resolve("quality", ["a"]) == 0
    assert store.raise_alert("quality", "a", "warning", "A fails again")
    assert [row[3] for row in trial.alerts()] == [False, True, True]


def test_a_run_of_the_checks_raises_what_fails_and_resolves_what_passes(trial: Trial) -> None:
    for name, passed, symbol in (("a", False, None), ("b", True, None), ("c", True, None), ("c", False, "AAPL")):
        _result(trial, name, passed, symbol)
    first = notify_quality(trial.checker_url, "r1", {"a": "3 rows fail", "b": "b fails", "never run": "x"}, LINK)
    assert first == {"failing": 3, "new": 3, "resolved": 0}
    again = notify_quality(trial.checker_url, "r1", {"a": "4 rows fail"}, LINK, resolve=False)
    assert again == {"failing": 1, "new": 0, "resolved": 0}
    assert notify_quality(trial.checker_url, "r1", {"a": "4 rows fail"}, LINK) == {
        "failing": 1,
        "new": 0,
        "resolved": 1,
    }
    # What was not checked in this run is as it was.
    assert [(row[0], row[2], row[3]) for row in trial.alerts()] == [
        ("a", 3, True),
        ("b", 1, False),
        ("never run", 1, True),
    ]
    assert trial.execute("SELECT kind, title, body FROM alerts WHERE subject = 'a'") == [
        ("quality", "Quality check a fails", f"4 rows fail\n{LINK}")
    ]


def test_a_run_that_could_not_check_is_an_alert_until_one_can(trial: Trial) -> None:
    for failed in (True, True, False):
        notify_unchecked(trial.checker_url, LINK, failed=failed)
    assert trial.alerts() == [(UNCHECKED, "critical", 2, False, False)]


def test_strong_anomalies_become_alerts_once(trial: Trial, store: AlertStore) -> None:
    trial.anomaly()
    trial.anomaly("high", metric="volume")
    trial.anomaly("warning", interval="5m")
    found = notify_anomalies(store, None)
    assert (found.raised, found.withdrawn, found.over) == (2, 0, 0)
    assert [row[:3] for row in trial.alerts()] == [
        ("anomaly:BTC-USD:1m:2026-03-02T14:03:00Z:price", "critical", 1),
        ("anomaly:BTC-USD:1m:2026-03-02T14:03:00Z:volume", "high", 1),
    ]
    assert notify_anomalies(store, found.detected_through).raised == 0
    assert notify_anomalies(store, None).raised == 0
    assert {row[2] for row in trial.alerts()} == {1}
    for alert in store.undelivered(10):
        assert "6.4 standard deviations below" in alert.body
        assert "0.98" not in alert.title + alert.body, "no figure of the market"


def test_a_candle_that_is_not_whole_yet_is_no_news(trial: Trial, store: AlertStore) -> None:
    """Half a candle has half a volume: most of such anomalies are withdrawn before their window has ended."""
    now = datetime.now(UTC)
    trial.anomaly(interval="5m", window_start=now - timedelta(minutes=6), metric="volume")
    trial.anomaly(interval="1m", window_start=now - timedelta(minutes=2))
    first = notify_anomalies(store, None)
    assert first.raised == 0
    trial.execute("UPDATE price_anomalies SET window_start = window_start - interval '2 minutes'")
    assert notify_anomalies(store, first.detected_through).raised == 2


def test_an_alert_that_a_person_closed_stays_closed(trial: Trial, store: AlertStore) -> None:
    trial.anomaly()
    notify_anomalies(store, None)
    trial.execute("UPDATE alerts SET resolved_at = now()")
    assert notify_anomalies(store, None).raised == 0


def test_an_anomaly_that_commits_late_is_not_missed(trial: Trial, store: AlertStore) -> None:
    through = notify_anomalies(store, None).detected_through
    trial.anomaly(age=timedelta(minutes=50))
    trial.anomaly(age=timedelta(days=3), metric="volume")
    assert notify_anomalies(store, through).raised == 1
    # However long nobody looked: what is older than a day is no news.
    assert notify_anomalies(store, through - timedelta(days=10)).raised == 0


def test_a_withdrawn_anomaly_is_resolved_and_one_that_comes_back_is_new(trial: Trial, store: AlertStore) -> None:
    trial.anomaly()
    trial.anomaly(symbol="AAPL", interval="5m")
    notify_anomalies(store, None)
    trial.execute("DELETE FROM price_anomalies WHERE symbol = 'BTC-USD'")
    trial.execute("UPDATE price_anomalies SET severity = 'warning' WHERE symbol = 'AAPL'")
    found = notify_anomalies(store, None)
    assert (found.raised, found.withdrawn) == (0, 2)
    trial.anomaly()
    assert notify_anomalies(store, None).raised == 1
    assert [row[3] for row in trial.alerts()] == [False, False, True]


def test_an_anomaly_that_grows_worse_is_told_again(trial: Trial, store: AlertStore, ways: list[Channel]) -> None:
    trial.anomaly("high")
    notify_anomalies(store, None)
    assert told(store, ways).delivered == 1
    trial.execute("UPDATE price_anomalies SET severity = 'critical'")
    assert notify_anomalies(store, None).raised == 1
    assert told(store, ways).delivered == 1
    trial.execute("UPDATE price_anomalies SET severity = 'high'")
    notify_anomalies(store, None)
    assert told(store, ways).delivered == 0, "better is no news"
    assert notify_anomalies(store, None).raised == 0
    assert len(trial.alerts()) == 1


def test_an_anomaly_that_was_told_a_day_ago_is_over(trial: Trial, store: AlertStore, ways: list[Channel]) -> None:
    trial.anomaly()
    notify_anomalies(store, None)
    trial.execute("UPDATE alerts SET raised_at = now() - interval '25 hours'")
    assert notify_anomalies(store, None).over == 0, "nobody was told"
    told(store, ways)
    assert notify_anomalies(store, None).over == 1
    trial.execute("UPDATE price_anomalies SET detected_at = now() - interval '26 hours'")
    assert notify_anomalies(store, None).raised == 0


def test_a_flood_is_taken_in_parts_and_loses_none(trial: Trial, store: AlertStore) -> None:
    trial.execute(
        "INSERT INTO price_anomalies (symbol, interval, window_start, metric, value, mean, stddev, z_score, severity)"
        " SELECT 'S' || n, '1m', %s, 'price', 1, 0, 0.1, 10, 'critical' FROM generate_series(1, %s) n",
        WINDOW,
        ANOMALIES_AT_ONCE + 5,
    )
    first = notify_anomalies(store, None)
    second = notify_anomalies(store, first.detected_through)
    assert (first.raised, second.raised) == (ANOMALIES_AT_ONCE, 5)


def test_a_channel_that_is_away_for_long_keeps_nothing_from_the_others(
    trial: Trial, store: AlertStore, ways: list[Channel], slack: Webhook, post: MailServer
) -> None:
    trial.execute(
        "INSERT INTO alerts (kind, subject, severity, title, raised_at) SELECT 'anomaly', 'old ' || n, 'high', 'old', "
        "now() - interval '1 hour' FROM generate_series(1, %s) n",
        DELIVERED_AT_ONCE + 5,
    )
    slack.status = 500
    first = told(store, ways)
    store.raise_alert("quality", "a", "critical", "A fails")
    second = told(store, ways, first)
    assert "A fails" in post.inbox[-1].get_payload()
    third = told(store, ways, second)
    assert (len(post.inbox), third.delivered) == (2, 0)
    slack.status = 200
    assert told(store, ways, third).delivered == DELIVERED_AT_ONCE
    assert "A fails" in slack.texts[-1], "the worst comes first"


def test_each_channel_gets_an_alert_once(
    trial: Trial, store: AlertStore, ways: list[Channel], slack: Webhook, post: MailServer
) -> None:
    store.raise_alert("quality", "a", "critical", "A fails", "3 rows")
    store.raise_alert("anomaly", "b", "high", "B is odd")
    assert told(store, ways) == Delivery(2)
    assert told(store, ways) == Delivery(0)
    assert slack.texts[0].startswith("*[SANDBOX] 2 alerts: 1 critical, 1 high*\ncritical: A fails")
    assert (len(slack.texts), len(post.inbox)) == (1, 1)
    store.raise_alert("quality", "a", "critical", "A fails", "3 rows")
    assert told(store, ways) == Delivery(0), "seen again is not told again"


def test_without_a_channel_table_and_log_are_enough(
    trial: Trial, store: AlertStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.raise_alert("quality", "a", "critical", "A fails", "3 rows")
    assert told(store, [Log()]).delivered == 1
    assert "critical: A fails" in caplog.text
    assert trial.alerts() == [("a", "critical", 1, True, True)]


def test_a_channel_that_fails_is_tried_again_and_the_others_hear_it_once(
    trial: Trial, store: AlertStore, ways: list[Channel], slack: Webhook, post: MailServer
) -> None:
    store.raise_alert("quality", "a", "critical", "A fails")
    slack.status = 503
    first = told(store, ways)
    assert (first.delivered, first.failed) == (0, {"Slack": "Slack answered 503: is SLACK_WEBHOOK_URL right?"})
    assert trial.alerts()[0][4] is False
    store.raise_alert("quality", "b", "critical", "B fails")
    second = told(store, ways, first)
    assert [len(mail.get_payload().splitlines()) for mail in post.inbox] == [1, 1]
    slack.status = 200
    third = told(store, ways, second)
    assert third == Delivery(2)
    assert slack.texts == [
        text for text in slack.texts if "2 alerts: 2 critical" in text and "A fails" in text and "B fails" in text
    ]
    assert (len(slack.texts), len(post.inbox)) == (1, 2)
    # Without the memory of the delivery before: twice rather than never.
    store.raise_alert("quality", "c", "critical", "C fails")
    slack.status = 503
    told(store, ways)
    told(store, ways)
    assert len(post.inbox) == 4


def test_what_was_resolved_before_it_was_told_is_not_told(
    trial: Trial, store: AlertStore, ways: list[Channel], slack: Webhook
) -> None:
    store.raise_alert("quality", "a", "critical", "A fails")
    store.resolve("quality", ["a"])
    assert told(store, ways).delivered == 0
    assert slack.texts == []


def test_a_year_of_alerts_costs_no_time(trial: Trial, store: AlertStore) -> None:
    trial.execute(
        "INSERT INTO alerts (kind, subject, severity, title, raised_at, resolved_at, delivered_at)"
        " SELECT 'anomaly', 'anomaly:S:1m:2025-01-01T00:00:00Z:' || n, 'high', 't', now() - n * interval '5 minutes',"
        " now(), now() FROM generate_series(1, 100000) n"
    )
    trial.execute("ANALYZE alerts")
    for number in range(100):
        trial.anomaly(symbol=f"S{number}")
    started = time.perf_counter()
    assert notify_anomalies(store, None).raised == 100
    assert time.perf_counter() - started < 5


def _result(
    trial: Trial,
    name: str,
    passed: bool,
    symbol: str | None = None,
    run_id: str = "r1",
    hours: tuple[int, int] = (2, 0),
) -> None:
    """`hours`: what the run looked at, in hours before now."""
    trial.execute("SELECT ensure_partitions('data_quality_results', ARRAY[current_date])")
    trial.execute(
        "INSERT INTO data_quality_results (checked_at, run_id, suite, check_name, dimension, severity, symbol, passed,"
        " covered_from, covered_until) VALUES (now(), %s, 's', %s, 'validity', 'critical', %s, %s,"
        " date_trunc('hour', now()) - %s * interval '1 hour', date_trunc('hour', now()) - %s * interval '1 hour')",
        run_id,
        name,
        symbol,
        passed,
        *hours,
    )
