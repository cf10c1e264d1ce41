"""Past bars through the real tables: what was lost comes back, what differs becomes a revision, nothing else moves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from include.market.event import AssetClass, MarketEvent, Source
from include.storage.archive_catalogue import DayIsCold
from include.storage.history_store import Part
from include.storage.market_reads import MarketReader
from include.storage.stream_store import StreamStore
from spark_jobs.as_of import figures_as_of, main
from spark_jobs.backfill import Stored, store_bars
from tests.integration.quality_world import (
    COIN,
    DELAY,
    END,
    HALF_DAY,
    LIQUID,
    QUIET,
    World,
    clean_week,
    database,
    stream,
)
from tests.stores import Services

MIDNIGHT = datetime(2025, 11, 28, tzinfo=UTC)
TABLES = {
    "candles": "symbol, interval, window_start, open, high, low, close, volume, vwap, event_count, source",
    "indicators": "symbol, interval, window_start, sma_20, ema_12, ema_26, bollinger_upper, bollinger_middle,"
    " bollinger_lower, volatility_20, log_return",
    "price_anomalies": "symbol, interval, window_start, metric, value, mean, stddev, z_score, severity",
}


@dataclass(frozen=True)
class Chosen:
    """The settings that the command reads."""

    database_url: str
    writer_database_url: str | None = None


@pytest.fixture(scope="module")
def week() -> dict[AssetClass, list[MarketEvent]]:
    return clean_week()


@pytest.fixture(scope="module")
def whole(services: Services, week: dict[AssetClass, list[MarketEvent]]) -> Iterator[World]:
    with database(services, "backfill_whole") as world:
        stream(world, week)
        yield world


@pytest.fixture
def world(services: Services, whole: World) -> Iterator[World]:
    """A copy, to be disturbed."""
    with database(services, "backfill_copy", template="backfill_whole") as copy:
        yield copy


def bars_of(week: dict[AssetClass, list[MarketEvent]], symbol: str, day: date) -> list[MarketEvent]:
    return [
        event
        for events in week.values()
        for event in events
        if event.symbol == symbol and datetime.fromtimestamp(event.event_time / 1e6, UTC).date() == day
    ]


def backfill(
    world: World, bars: Sequence[MarketEvent], symbol: str = LIQUID, day: date = HALF_DAY, run_id: str = "run"
) -> Stored:
    store = StreamStore(world.writer_url, 0)
    part = Part(run_id, symbol, day, "1m", "yahoo", len(bars), 0, 0, 1, None)
    try:
        return store_bars(store, part, bars, "crypto" if symbol == COIN else "stock", DELAY)
    finally:
        store.close()


def rows(world: World) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: world.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3, 4") for table, columns in TABLES.items()
    }


def assert_close(found: dict[str, list[tuple[Any, ...]]], expected: dict[str, list[tuple[Any, ...]]]) -> None:
    """Candles to the last digit, figures within 1e-9."""
    assert found["candles"] == expected["candles"]
    for table in ("indicators", "price_anomalies"):
        assert_same(found[table], expected[table])


def assert_same(found: Sequence[tuple[Any, ...]], expected: Sequence[tuple[Any, ...]]) -> None:
    for one, other in zip(found, expected, strict=True):
        for value, wanted in zip(one, other, strict=True):
            assert value == (pytest.approx(wanted, rel=1e-9, abs=1e-15) if isinstance(wanted, float) else wanted)


def lose(world: World, symbol: str, minutes: Sequence[int], *, events: bool = True) -> None:
    """Raw rows, and the candles and figures of the windows, as if they had never been."""
    listed = ", ".join(f"to_timestamp({at // 1_000_000})" for at in minutes)
    if events:
        world.execute(f"DELETE FROM market_events WHERE symbol = '{symbol}' AND event_time IN ({listed})")
    for table in TABLES:
        world.execute(
            f"DELETE FROM {table} WHERE symbol = '{symbol}' AND interval = '1m' AND window_start IN ({listed})"
        )


def test_an_hour_and_37_minutes_that_were_lost_come_back_and_all_is_as_if_undisturbed(
    world: World, whole: World, week: dict[AssetClass, list[MarketEvent]]
) -> None:
    expected = rows(whole)
    dice = random.Random(37)
    for symbol in (LIQUID, COIN):
        bars = bars_of(week, symbol, HALF_DAY)
        lost = sorted({*range(60, 120), *dice.sample(range(len(bars)), 37)})
        lose(world, symbol, [bars[number].event_time for number in lost])
        assert rows(world) != expected
        done = backfill(world, bars, symbol)
        assert (done.new, done.changed_bars, done.unchanged) == (len(lost), 0, len(bars) - len(lost))
        came = {datetime.fromtimestamp(event.event_time / 1e6, UTC) for event in bars}
        assert done.missing_before - len(done.missing) == len(lost)
        assert not came & set(done.missing)
    assert_close(rows(world), expected)
    assert world.execute("SELECT * FROM candle_differences('2025-11-24', %s)", END) == []
    assert world.execute("SELECT * FROM indicator_repairs") == []


def test_the_second_time_changes_nothing(world: World, week: dict[AssetClass, list[MarketEvent]]) -> None:
    bars = bars_of(week, LIQUID, HALF_DAY)
    lose(world, LIQUID, [bars[30].event_time])
    assert backfill(world, bars, run_id="first").new == 1
    stamps = [world.execute(f"SELECT xmin, ctid FROM {table} ORDER BY 2") for table in ("market_events", *TABLES)]
    again = backfill(world, bars, run_id="second")
    assert (again.new, again.changed_bars, again.unchanged, again.changed) == (0, 0, len(bars), 0)
    assert stamps == [
        world.execute(f"SELECT xmin, ctid FROM {table} ORDER BY 2") for table in ("market_events", *TABLES)
    ]
    told = world.execute(
        "SELECT run_id, bars_fetched, bars_new, bars_changed, bars_unchanged, missing_before, missing_after, calls "
        "FROM backfill_results ORDER BY 1"
    )
    assert told == [
        ("first", len(bars), 1, 0, len(bars) - 1, 1, 0, 1),
        ("second", len(bars), 0, 0, len(bars), 0, 0, 1),
    ]


def test_another_close_is_a_revision_and_changes_what_depends_on_it_and_nothing_else(
    world: World, week: dict[AssetClass, list[MarketEvent]]
) -> None:
    bars = bars_of(week, LIQUID, HALF_DAY)
    before = rows(world)
    old = bars[104]
    known = datetime.fromtimestamp(old.ingested_at / 1e6, UTC) + timedelta(days=1)
    revised = msgspec.structs.replace(
        old, close=old.high, volume=old.volume + 5, ingested_at=old.ingested_at + 2 * 86_400_000_000
    )
    done = backfill(world, [*bars[:104], revised, *bars[105:]])
    assert (done.new, done.changed_bars, done.unchanged) == (0, 1, len(bars) - 1)
    assert world.execute(
        "SELECT revision, close, volume, kafka_offset IS NULL FROM market_events WHERE event_id = %s ORDER BY 1",
        old.event_id,
    ) == [(0, old.close, old.volume, False), (1, old.high, old.volume + 5, True)]
    at = datetime.fromtimestamp(old.event_time / 1e6, UTC)
    five = at - timedelta(minutes=at.minute % 5)
    after = rows(world)
    changed = {table: set(after[table]) ^ set(before[table]) for table in TABLES}
    assert {row[:3] for row in changed["candles"]} == {(LIQUID, "1m", at), (LIQUID, "5m", five)}
    # Every later EMA of the symbol, and nothing of another or of before.
    later = {row[:3] for row in after["indicators"] if row[0] == LIQUID and row[2] >= (at if row[1] == "1m" else five)}
    assert {row[:3] for row in changed["indicators"]} == later
    assert {row[:3] for row in changed["price_anomalies"]} <= later
    # What was known before the revision came, and now.
    as_of = "SELECT close, volume FROM candles_as_of(%s, %s, %s, ARRAY[%s]) WHERE interval = '1m'"
    assert world.execute(as_of, known, at, at + timedelta(minutes=1), LIQUID) == [(old.close, old.volume)]
    now = world.execute(as_of, "infinity", at, at + timedelta(minutes=1), LIQUID)
    assert now == [(old.high, old.volume + 5)]
    assert world.execute("SELECT count(*) FROM candles_as_of(%s, %s, %s)", MIDNIGHT, MIDNIGHT, END) == [(0,)]
    assert world.execute("SELECT * FROM candle_differences('2025-11-24', %s)", END) == []
    # The revised figures once more are no further revision, the first ones would be.
    assert backfill(world, [revised]).changed == 0


def test_figures_of_any_moment_are_those_that_stood_then(
    world: World, week: dict[AssetClass, list[MarketEvent]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = bars_of(week, LIQUID, HALF_DAY)
    before = [row for row in rows(world)["indicators"] if row[0] == LIQUID]
    closes = [row for row in rows(world)["candles"] if row[0] == LIQUID]
    revised = msgspec.structs.replace(bars[104], close=bars[104].high, ingested_at=int(END.timestamp() * 1e6) + 9)
    backfill(world, [revised])
    after = [row for row in rows(world)["indicators"] if row[0] == LIQUID]
    assert after != before
    for moment, expected in ((END, before), (END + timedelta(hours=1), after)):
        found = figures_as_of(world.writer_url, LIQUID, END, moment)
        columns = found.indicators.select(TABLES["indicators"].split(", ")).sort_by(
            [(name, "ascending") for name in ("symbol", "interval", "window_start")]
        )
        assert_same([tuple(one.values()) for one in columns.to_pylist()], expected)
    monkeypatch.setattr("spark_jobs.as_of.settings", lambda: Chosen(world.writer_url))
    assert main([LIQUID, "--at", f"{END.isoformat()}", "--to", f"{tmp_path}"]) == 0
    assert pq.read_table(tmp_path / "candles.parquet").num_rows == len(closes)
    reader = MarketReader(world.writer_url, timedelta(minutes=7))
    at = datetime.fromtimestamp(revised.event_time / 1e6, UTC)
    then, now = (
        reader.candles(LIQUID, "1m", 500, at + timedelta(minutes=1), at, as_of=moment)[-1]
        for moment in (END, END + timedelta(hours=1))
    )
    assert (then.close, now.close, now.updated_at) == (bars[104].close, revised.close, END + timedelta(hours=1))
    stored = reader.candles(LIQUID, "5m", 40, END)
    known = reader.candles(LIQUID, "5m", 40, END, as_of=END + timedelta(hours=1))
    soon = reader.candles(LIQUID, "1m", 500, at + timedelta(minutes=3), at, as_of=at + timedelta(minutes=9))
    # Seven minutes after its end a window is closed, not six.
    assert [each.is_final for each in soon] == [True, True, False]
    assert [replace(each, updated_at=END, is_final=True) for each in known] == [
        replace(each, updated_at=END, is_final=True) for each in stored
    ]
    reader.close()


def test_bars_of_another_source_and_of_traded_minutes_are_left(
    world: World, week: dict[AssetClass, list[MarketEvent]]
) -> None:
    bars = bars_of(week, LIQUID, HALF_DAY)
    before = rows(world)
    others = [of_source(event, "alpha_vantage") for event in bars[:20]]
    assert backfill(world, others).left == 20
    traded = bars_of(week, COIN, HALF_DAY)[50]
    world.execute("DELETE FROM market_events WHERE event_id = %s", traded.event_id)
    world.execute(
        "INSERT INTO market_events SELECT 'binance:BTC-USD:trade:1', symbol, asset_class, source, 'trade',"
        " %s::timestamptz + interval '7 seconds', 0, close, close, close, close, 1, currency, ingested_at, 0, 999999, 0"
        " FROM market_events WHERE symbol = 'BTC-USD' LIMIT 1",
        datetime.fromtimestamp(traded.event_time / 1e6, UTC),
    )
    assert backfill(world, [traded], COIN).left == 1
    assert rows(world) == before
    [(left,)] = world.execute("SELECT bars_left FROM backfill_results WHERE symbol = %s", LIQUID)
    assert left == 20


def test_candles_that_were_lost_are_counted_again_though_their_events_are_there(
    world: World, whole: World, week: dict[AssetClass, list[MarketEvent]]
) -> None:
    bars = bars_of(week, LIQUID, HALF_DAY)
    lose(world, LIQUID, [event.event_time for event in bars[40:50]], events=False)
    world.execute("DELETE FROM candles WHERE interval = '5m' AND symbol = %s AND window_start > %s", LIQUID, MIDNIGHT)
    world.execute("DELETE FROM indicators WHERE interval = '5m' AND symbol = %s", LIQUID)
    done = backfill(world, bars)
    assert (done.new, done.unchanged, done.missing_before) == (0, len(bars), 10)
    assert_close(rows(world), rows(whole))


def test_a_day_that_fails_half_way_leaves_all_as_it_was(
    world: World, week: dict[AssetClass, list[MarketEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = bars_of(week, LIQUID, HALF_DAY)
    lose(world, LIQUID, [bars[30].event_time])
    before, held = rows(world), world.execute("SELECT count(*) FROM market_events")

    def dies(*_: object) -> None:
        raise ConnectionError("killed")

    monkeypatch.setattr("spark_jobs.figures.indicators_and_anomalies", dies)
    with pytest.raises(ConnectionError):
        backfill(world, bars)
    assert rows(world) == before
    assert world.execute("SELECT count(*) FROM market_events") == held
    assert world.execute("SELECT count(*) FROM backfill_results") == [(0,)]


def test_a_cold_day_is_refused_by_name(world: World, week: dict[AssetClass, list[MarketEvent]]) -> None:
    world.execute(
        "INSERT INTO archived_days (relation, day, part, rows, checksum, file, bytes, file_sha256, verified_at,"
        " dropped_at) VALUES ('market_events', %s, 1, 1, 1, 'f', 1, 'x', now(), now())",
        HALF_DAY,
    )
    with pytest.raises(DayIsCold, match=f"{HALF_DAY}"):
        backfill(world, bars_of(week, LIQUID, HALF_DAY))
    assert world.execute("SELECT count(*) FROM backfill_results") == [(0,)]


def test_a_day_of_which_nobody_has_anything_is_recorded_with_the_reason(world: World) -> None:
    store = StreamStore(world.writer_url, 0)
    part = Part("run", QUIET, HALF_DAY, "1m", None, 0, 0, 0, 2, "yahoo: RateLimited: later")
    done = store_bars(store, part, [], "stock", DELAY)
    store.close()
    assert done.missing_before == len(done.missing) > 150
    assert world.execute("SELECT source, reason, missing_after, calls FROM backfill_results") == [
        (None, "yahoo: RateLimited: later", len(done.missing), 2)
    ]


def of_source(event: MarketEvent, source: Source) -> MarketEvent:
    return msgspec.structs.replace(
        event, source=source, event_id=event.event_id.replace("yahoo", source), close=event.low + Decimal("0.001")
    )
