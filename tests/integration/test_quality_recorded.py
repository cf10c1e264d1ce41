"""Real defects in recorded days are found: a low of 0.06, prices a hundredfold, hours without a bar."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.quality_world import World, database
from tests.stores import Services

DAY, MINUTE = 86_400, 60
COLUMNS = (
    "event_id, symbol, asset_class, source, kind, event_time, interval_seconds, open, high, low, close, volume, "
    "currency, ingested_at, revision"
)
Bar = tuple[datetime, str, str, str, str, str]


@pytest.fixture(scope="module")
def recorded(services: Services, shared_data: Path) -> Iterator[World]:
    with database(services, "quality_recorded") as world:
        store(world, "BTC-USD", "crypto", DAY, zipped(shared_data / "bars_1d/crypto/coinbase_BTCUSD.csv.gz"))
        store(world, "AAPL", "stock", DAY, zipped(shared_data / "bars_1d/us_equity/AAPL.csv.gz"))
        for name in ("8TRA-DE-1d-missing-div-adjust", "AET-L-1d-100x-error"):
            store(world, name[:5], "stock", DAY, yahoo(shared_data / f"dirty_yahoo/{name}.csv"))
        store(world, "AET-F", "stock", DAY, yahoo(shared_data / "dirty_yahoo/AET-L-1d-100x-error-fixed.csv"))
        minutes = zipped(shared_data / "bars_1m/crypto/coinbase_BTCEUR_20180404-20180405.csv.gz")
        store(world, "BTC-EUR", "crypto", MINUTE, minutes)
        world.execute(
            "INSERT INTO candles SELECT symbol, interval, window_start, open, high, low, close, volume, vwap, "
            "event_count, source, 'crypto', true, window_start FROM recounted_candles('2018-04-04', '2018-04-06')"
        )
        world.execute("UPDATE instruments SET is_collected = false")
        world.execute("INSERT INTO instruments VALUES ('BTC-EUR', 'crypto', 'A coin', true, '2018-04-01')")
        yield world


def zipped(file: Path) -> Iterator[Bar]:
    with gzip.open(file, "rt") as rows:
        for row in csv.DictReader(rows):
            stamp = row.get("ts_utc") or f"{row['date']}T00:00:00Z"
            at = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
            yield (at, *(row[name] for name in ("open", "high", "low", "close", "volume")))  # type: ignore[misc]


def yahoo(file: Path) -> Iterator[Bar]:
    with file.open() as rows:
        for row in csv.DictReader(rows):
            at = datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC)
            yield (at, *(row[name] for name in ("Open", "High", "Low", "Close", "Volume")))  # type: ignore[misc]


def store(world: World, symbol: str, asset_class: str, seconds: int, bars: Iterable[Bar]) -> None:
    listed = list(bars)
    days = sorted({at.date() for at, *_ in listed})
    world.execute("SELECT ensure_partitions('market_events', ARRAY[date_trunc('day', now())::date])")
    # Years of daily bars: one partition for all of them is enough for a test.
    first, last = days[0], days[-1] + timedelta(days=1)
    with psycopg.connect(world.owner_url, autocommit=True) as owner:
        owner.execute(
            "CREATE TABLE IF NOT EXISTS market_events_past PARTITION OF market_events "
            "FOR VALUES FROM ('1990-01-01') TO ('2023-12-31')"
        )
        with owner.cursor() as cursor, cursor.copy(f"COPY market_events ({COLUMNS}) FROM STDIN") as copy:
            for at, opening, high, low, close, volume in listed:
                micros = int(at.timestamp()) * 1_000_000
                prices = [f"{float(price):.8f}" for price in (opening, high, low, close)]
                copy.write_row(
                    (
                        f"yahoo:{symbol}:bar{seconds}:{micros}", symbol, asset_class, "yahoo", "bar", at, seconds,
                        *prices, volume, "USD", at + timedelta(seconds=seconds + 2), 0,
                    )
                )  # fmt: skip
    assert first < last


def keys(world: World, folder: Path, since: str, until: str, check: str, symbol: str) -> list[dict[str, Any]]:
    """Failing rows of that check."""
    report = world.check(folder, datetime.fromisoformat(since), datetime.fromisoformat(until), suites=["market_events"])
    found = next(each for each in report.checks if each.check_name == check)
    assert "could not be checked" not in found.observed, found.observed
    return [key for key in found.failing_keys if key["symbol"] == symbol]


def test_the_low_of_six_cents_is_found(recorded: World, tmp_path: Path) -> None:
    found = keys(
        recorded, tmp_path, "2017-04-10T00:00+00:00", "2017-04-20T00:00+00:00", "market_events_wicks_plausible",
        "BTC-USD",
    )  # fmt: skip
    assert [key["event_time"][:10] for key in found] == ["2017-04-15"]


@pytest.mark.parametrize("day", ["2009-09-21", "2010-08-31", "2011-01-03"])
def test_a_low_at_a_tenth_is_found(recorded: World, tmp_path: Path, day: str) -> None:
    until = (datetime.fromisoformat(day) + timedelta(days=3)).replace(tzinfo=UTC).isoformat()
    found = keys(recorded, tmp_path, f"{day}T00:00+00:00", until, "market_events_wicks_plausible", "AAPL")
    assert [key["event_time"][:10] for key in found] == [day]


def test_prices_a_hundredfold_are_found_row_by_row_and_the_right_ones_are_not(recorded: World, tmp_path: Path) -> None:
    found = keys(
        recorded, tmp_path, "2022-05-01T00:00+00:00", "2022-06-10T00:00+00:00", "market_events_price_plausible",
        "AET-L",
    )  # fmt: skip
    days = sorted(key["event_time"][:10] for key in found)
    assert days == [f"2022-05-{day:02d}" for day in (9, 10, 11, 12, 13, 16, 17, 18, 19)]
    fixed = keys(
        recorded, tmp_path, "2022-05-01T00:00+00:00", "2022-06-10T00:00+00:00", "market_events_price_plausible",
        "AET-F",
    )  # fmt: skip
    assert fixed == []


def test_a_split_is_no_wrong_price(recorded: World, tmp_path: Path) -> None:
    """AAPL, 7 for 1, on 9 June 2014: a step in level, to be looked at, and no row to be held."""
    span = ("2014-05-01T00:00+00:00", "2014-08-01T00:00+00:00")
    assert keys(recorded, tmp_path, *span, "market_events_price_plausible", "AAPL") == []
    steps = keys(recorded, tmp_path, *span, "market_events_level_steady", "AAPL")
    assert [key["event_time"][:10] for key in steps] == ["2014-06-09"]


def test_the_hours_without_a_bar_are_found(recorded: World, tmp_path: Path) -> None:
    report = recorded.check(
        tmp_path,
        datetime(2018, 4, 4, tzinfo=UTC),
        datetime(2018, 4, 5, tzinfo=UTC),
        suites=["symbol_completeness"],
    )
    found = next(each for each in report.results if each.symbol == "BTC-EUR")
    assert not found.passed
    assert "longest hole 7 h 1" in found.observed, found.observed
