"""What the market page reads and notes, on the real servers, each by the role that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from include.storage import migrate
from include.storage.alert_reads import Acknowledger, AlertReader
from include.storage.cache import CacheManager
from include.storage.chart_reads import ChartReader, Closure
from include.storage.live_reads import LiveReader
from include.storage.price_feed import PriceFeed
from tests.stores import Services
from tests.trial_database import trial_database

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
START = NOW - timedelta(minutes=30)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Trial:
    owner_url: str
    reader_url: str
    writer_url: str

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def trial(services: Services) -> Iterator[Trial]:
    with trial_database(services, "market_page") as owner_url:
        migrate.upgrade(owner_url, "sandbox")
        made = Trial(
            owner_url,
            *(
                url.replace("/financial_data", "/market_page")
                for url in (services.reader_database_url, services.writer_database_url)
            ),
        )
        made.execute("DELETE FROM trading_sessions")
        made.execute("INSERT INTO instruments (symbol, asset_class, name, is_collected) VALUES"
                     " ('AAPL', 'stock', 'Apple', true) ON CONFLICT DO NOTHING")  # fmt: skip
        for number, first in enumerate((START - timedelta(hours=20), START - timedelta(minutes=5))):
            made.execute(
                "INSERT INTO trading_sessions (asset_class, day, opens_at, closes_at) VALUES ('stock', %s, %s, %s)",
                START.date() + timedelta(days=number), first, first + timedelta(hours=6),
            )  # fmt: skip
        for place in range(5):
            made.execute(
                "INSERT INTO indicators (symbol, interval, window_start, sma_20) VALUES ('AAPL', '1m', %s, %s)",
                START + place * MINUTE, None if place == 0 else 100.5,
            )  # fmt: skip
        made.execute(
            "INSERT INTO price_anomalies"
            " (symbol, interval, window_start, metric, value, mean, stddev, z_score, severity)"
            " VALUES ('AAPL', '1m', %s, 'price', 0.05, 0, 0.01, 5, 'high')",
            START + 2 * MINUTE,
        )
        for minute, state in ((10, "open"), (20, "filled")):
            made.execute(
                "INSERT INTO data_gaps (symbol, interval, gap_start, gap_end, cause, state, closed_at)"
                " VALUES ('AAPL', '1m', %s, %s, 'our outage', %s, %s)",
                START + minute * MINUTE, START + (minute + 2) * MINUTE, state, None if state == "open" else NOW,
            )  # fmt: skip
        made.execute(
            "INSERT INTO alerts (kind, subject, severity, title, body) VALUES"
            " ('quality', 'candles_equal_events', 'critical', 'a check failed', 'AAPL')"
        )
        yield made


def test_marks_of_a_chart_are_those_of_its_windows(trial: Trial) -> None:
    reader = ChartReader(trial.reader_url)
    marks = reader.marks("AAPL", "1m", START + MINUTE, START + 12 * MINUTE)
    assert [each.sma_20 for each in marks.indicators] == [100.5] * 4
    assert [(each.metric, each.z_score) for each in marks.anomalies] == [("price", 5.0)]
    # What is filled is no gap any more.
    assert [(each.cause, each.gap_start) for each in marks.gaps] == [("our outage", START + 10 * MINUTE)]
    assert marks.closures == []
    earlier = reader.marks("AAPL", "1m", START - timedelta(hours=18))
    assert earlier.closures == [Closure(START - timedelta(hours=14), START - timedelta(minutes=5))]
    assert reader.marks("NONE", "5m", START).indicators == []
    reader.close()


def test_what_a_person_has_seen_is_noted_once_and_by_the_writers_role(trial: Trial) -> None:
    reader, writer = AlertReader(trial.reader_url), Acknowledger(trial.writer_url)
    before = reader.newest()
    assert {(each.kind, each.acknowledged_at) for each in before} == {("anomaly", None), ("quality", None)}
    state = LiveReader(trial.reader_url).state()
    [alert] = [each for each in before if each.kind == "quality"]
    for _ in range(2):
        writer.anomaly("AAPL", "1m", START + 2 * MINUTE, "price", "dashboard")
        assert alert.id is not None
        writer.alert(alert.id, "dashboard")
    after = reader.newest()
    assert all(each.acknowledged_at is not None for each in after)
    writer.alert(alert.id, "another")
    assert trial.execute("SELECT acknowledged_by FROM alerts") == [("dashboard",)]
    # Whoever looks on is told that the list has changed.
    assert LiveReader(trial.reader_url).state().alerts != state.alerts
    reader.close()


def test_the_live_state_is_one_small_answer(trial: Trial) -> None:
    reader = LiveReader(trial.reader_url)
    state = reader.state()
    assert (state.stream_age, state.is_stream_wanted, state.open) == (None, False, ["stock"])
    trial.execute(
        "INSERT INTO stream_lease (application, epoch, owner, desired_state, heartbeat_at)"
        " VALUES ('market_stream', 1, 'x', 'running', now() - interval '7 seconds')"
    )
    beating = reader.state()
    assert beating.is_stream_wanted
    assert beating.stream_age == pytest.approx(7, abs=3)
    reader.close()


def test_each_change_is_announced_and_a_lost_redis_is_noticed(services: Services) -> None:
    cache = CacheManager(services.redis_url)

    async def first_changes() -> list[dict[str, Any] | None]:
        found: list[dict[str, Any] | None] = []
        async with asyncio.timeout(10):
            async for change in PriceFeed(services.redis_url).changes():
                found.append(change)
                if len(found) == 1:
                    cache.set_latest_price("FEED", Decimal("1.25"))
                else:
                    return found
        return found

    listening, change = asyncio.run(first_changes())
    assert listening is None
    assert change is not None
    assert (change["symbol"], change["price"]) == ("FEED", "1.25")
