"""Whatever is held, released or dropped while the stream goes on: the tables are as if it had always been so.

Made-up streams, as in test_equality; what is expected is the reference's answer over the events that count.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.storage.cache import CacheManager
from include.storage.quarantine import Choice, decide, hold
from include.storage.stream_store import StreamStore
from spark_jobs.recompute import apply_quarantine, repair_indicators
from tests.integration.deliveries import MINUTE, SECOND, Delivery, Shape, cut, records, shapes
from tests.integration.expected import Row, Truth, assert_figures_equal
from tests.integration.plain_stream import PlainStream, plain_stream
from tests.integration.test_equality import MADE_UP
from tests.integration.warehouse import DELAY, Warehouse, warehouse
from tests.stores import Services

__all__ = ["warehouse"]

#: event_id and revision.
Name = tuple[str, int]


@pytest.fixture
def checker(services: Services, warehouse: Warehouse) -> Iterator[psycopg.Connection[Any]]:
    """As the checks have it."""
    url = services.checker_database_url.replace("/financial_data", "/equality")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


class Quarantine:
    """A stream, what is true of it, and what is in quarantine."""

    def __init__(self, stream: PlainStream, checker: psycopg.Connection[Any], dice: random.Random) -> None:
        self.stream = stream
        self.warehouse = stream.warehouse
        self.checker = checker
        self.dice = dice
        self.truth = Truth()
        self.out: set[Name] = set()
        self.decided: set[Name] = set()

    def write(self, batch: Sequence[Delivery]) -> None:
        self.truth.batch(batch)
        self.stream.write(records(batch, self.stream.asset_class))

    def hold(self, count: int) -> None:
        """Some rows of any kind, and now and then all of a window."""
        names = sorted(set(self.truth.stored) - self.out - self.decided)
        chosen = self.dice.sample(names, min(count, len(names)))
        if chosen and self.dice.random() < 0.5:
            first = self.truth.stored[chosen[0]]
            chosen += [
                name for name in names if name not in chosen and self.truth.stored[name]["symbol"] == first["symbol"]
                and self.truth.stored[name]["event_time"] // MINUTE == first["event_time"] // MINUTE
            ]  # fmt: skip
        assert self.hold_named(chosen) == len(chosen)
        self.out |= set(chosen)

    def hold_named(self, names: Sequence[Name]) -> int:
        return hold(self.checker, [key(self.truth.stored[name]) for name in names], "a check", "why", "run")

    def decide(self, state: Any, count: int) -> None:
        chosen = self.dice.sample(sorted(self.out - self.decided), min(count, len(self.out - self.decided)))
        ids = tuple(name for name, _ in chosen)
        # Both revisions of an id, if both are held.
        touched = {name for name in self.out - self.decided if name[0] in ids}
        choice = Choice(event_ids=ids)
        assert decide(self.warehouse.writer_url, choice, state, by="me", run=f"run {uuid4()}") == len(touched)
        self.decided |= touched
        if state == "released":
            self.out -= touched

    def apply(self) -> dict[str, int]:
        store = StreamStore(self.warehouse.writer_url, 0)
        done = apply_quarantine(store, DELAY, CacheManager(self.warehouse.redis_url))
        repair_indicators(store)
        store.close()
        return done

    def backfill(self) -> None:
        """Other figures for a bar that is held or not: the newest revision that counts, counts."""
        bars = [row for row in self.truth.stored.values() if row["kind"] == "bar" and row["revision"] == 0]
        if bars:
            row = self.dice.choice(bars)
            newest = max(revision for name, revision in self.truth.stored if name == row["event_id"])
            again = {"kafka_partition": None, "kafka_offset": None, "close": row["low"], "revision": newest + 1}
            self.warehouse.backfill([row | again])
            self.truth.backfilled([row | again])
            self.warehouse.recompute()

    def assert_equal(self) -> None:
        assert self.warehouse.rows("SELECT count(*) FROM quarantined_events WHERE applied_at IS NULL") == [(0,)]
        stored = {name: row for name, row in self.truth.stored.items() if name not in self.out}
        wanted = Truth(stored, newest=self.truth.newest).candles()
        kind = self.stream.asset_class
        assert self.warehouse.candles(kind) == wanted
        self.warehouse.repair()
        assert_figures_equal(wanted, self.warehouse.indicators(kind), self.warehouse.anomalies(kind))
        # Nothing is left of a candle that is gone.
        for table in ("indicators", "price_anomalies"):
            assert self.warehouse.rows(
                f"SELECT symbol, interval, window_start FROM {table} EXCEPT "
                "SELECT symbol, interval, window_start FROM candles"
            ) == []  # fmt: skip
        told = self.warehouse.rows("SELECT body ->> 'anomaly_id', body ->> 'state' FROM anomaly_outbox ORDER BY id")
        standing = self.warehouse.rows(
            "SELECT concat_ws(':', symbol, interval, (extract(epoch FROM window_start) * 1000000)::bigint, metric) "
            "FROM price_anomalies"
        )
        assert {name for name, state in dict(told).items() if state == "raised"} == {name for (name,) in standing}


def key(row: Row) -> dict[str, Any]:
    time = datetime.fromtimestamp(row["event_time"] // SECOND, UTC) + timedelta(
        microseconds=row["event_time"] % SECOND
    )  # fmt: skip
    return {name: row[name] for name in ("event_id", "revision", "symbol", "asset_class")} | {"event_time": time}


def check(warehouse: Warehouse, checker: psycopg.Connection[Any], shape: Shape, later_candles: int) -> None:
    warehouse.empty()
    warehouse.rows("TRUNCATE quarantined_events")
    dice = random.Random(shape.seed + 1)
    with plain_stream(warehouse, shape.asset_class, dice=dice, later_candles=later_candles) as stream:
        run = Quarantine(stream, checker, dice)
        for number, batch in enumerate(cut(shape.deliveries(), 6, dice)):
            run.write(batch)
            if number == 1:
                run.backfill()
            if number < 4:
                run.hold(3)
            # Now and then the next batch comes first, into the same windows.
            if number % 2:
                run.apply()
                run.assert_equal()
            if number == 2:
                run.decide("released", 2)
            elif number == 3:
                run.decide("dropped", 2)
        run.apply()
        run.assert_equal()
        run.decide("released", 100)
        run.apply()
        run.assert_equal()
        # A decision stands: the same check holds neither what was released nor what was dropped.
        assert run.hold_named(sorted(run.decided)) == 0
        assert run.apply() == {"applied": 0, "events": 0, "candles": 0, "changed": 0}


@settings(MADE_UP, max_examples=8, derandomize=True)
@given(shape=shapes(), later_candles=st.sampled_from((2_000, 15)))
def test_made_up_quarantines(
    warehouse: Warehouse, checker: psycopg.Connection[Any], shape: Shape, later_candles: int
) -> None:
    check(warehouse, checker, shape, later_candles)


@pytest.mark.exhaustive
@pytest.mark.timeout(3_600)
@settings(MADE_UP, max_examples=150, print_blob=True)
@given(shape=shapes(), later_candles=st.sampled_from((2_000, 15)))
def test_many_made_up_quarantines(
    warehouse: Warehouse, checker: psycopg.Connection[Any], shape: Shape, later_candles: int
) -> None:
    check(warehouse, checker, shape, later_candles)
