"""The recorded Apple: its 7:1 split and dividends make the vendor's factors; raw rows stay, nothing is alarmed."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from include.market.calendar import session_of
from include.market.corporate_action import CorporateAction, as_traded
from include.market.event import MICROSECONDS, MarketEvent, bar
from include.storage.corporate_actions import actions_of, keep_actions, looked_at
from include.storage.history_store import OtherShares
from tests.integration.quality_world import LIQUID, World, database, stream
from tests.integration.test_backfill import backfill
from tests.stores import Services

DAILY = "bars_1d/us_equity"
MINUTES = "bars_1m/us_equity/AAPL_20140605-20140606.csv.gz"
FRIDAY, SPLIT = date(2014, 6, 6), date(2014, 6, 9)
#: Since its last dividend before the split.
FIRST = date(2014, 5, 1)


@pytest.fixture(scope="module")
def world(services: Services) -> Iterator[World]:
    with database(services, "corporate_actions") as found:
        yield found


def recorded_actions(shared_data: Path) -> list[CorporateAction]:
    """The vendor's factor file read backwards: what must have happened for its figures to change so."""
    rows = list(csv.DictReader((shared_data / DAILY / "AAPL_factors.csv").open()))
    days = [day for day, _ in daily(shared_data)]
    found = []
    for row, after in zip(rows[1:], [*rows[2:], {"price_factor": "1", "split_factor": "1"}], strict=True):
        through = datetime.strptime(row["date"], "%Y%m%d").date()
        later = [day for day in days if day > through]
        if not later:
            continue
        ratio = Fraction(after["split_factor"]) / Fraction(row["split_factor"])
        if abs(ratio - 1) > Fraction(1, 100):
            shares = Decimal(round(ratio))
            found.append(CorporateAction("AAPL", "split", later[0], "yahoo", micros(later[0]), shares, Decimal(1)))
        worth = 1 - Fraction(row["price_factor"]) / Fraction(after["price_factor"])
        if worth > Fraction(1, 100_000):
            amount = Fraction(row["reference_price"]) * worth
            said = (Decimal(amount.numerator) / Decimal(amount.denominator)).quantize(Decimal("0.00000001"))
            found.append(
                CorporateAction("AAPL", "dividend", later[0], "yahoo", micros(later[0]), amount=said, currency="USD")
            )
    return found


def micros(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 14, tzinfo=UTC).timestamp()) * MICROSECONDS


def daily(shared_data: Path) -> list[tuple[date, dict[str, str]]]:
    with gzip.open(shared_data / DAILY / "AAPL.csv.gz", "rt") as file:
        return [(date.fromisoformat(row["date"]), row) for row in csv.DictReader(file)]


def daily_bars(shared_data: Path, actions: list[CorporateAction]) -> list[MarketEvent]:
    """Of the days about the actions: each is a partition."""
    found = []
    near = {action.ex_date + timedelta(days=number) for action in actions for number in range(-4, 2)}
    for day, row in daily(shared_data):
        session = session_of(day)
        if day not in near or session is None:
            continue
        opening, high, low, close = (Decimal(row[name]) for name in ("open", "high", "low", "close"))
        found.append(
            bar(
                symbol="AAPL",
                asset_class="stock",
                source="yahoo",
                start=session.open_us,
                interval_seconds=86_400,
                prices=(opening, max(high, opening, close), min(low, opening, close), close),
                volume=Decimal(row["volume"]),
                currency="USD",
                ingested_at=session.close_us,
            )
        )
    return found


def factor_of(rows: list[dict[str, str]], day: date) -> tuple[float, float]:
    row = next(row for row in rows if datetime.strptime(row["date"], "%Y%m%d").date() >= day)
    return float(row["price_factor"]), float(row["split_factor"])


@pytest.mark.exhaustive  # each of its days is a partition
def test_the_factors_of_recorded_days_are_the_vendors(world: World, shared_data: Path) -> None:
    actions = [action for action in recorded_actions(shared_data) if action.ex_date >= FIRST]
    bars = daily_bars(shared_data, actions)
    stream(world, {"stock": bars, "crypto": []})
    splits = [(action.ex_date, action.numerator) for action in actions if action.kind == "split"]
    assert splits == [(SPLIT, 7), (date(2020, 8, 31), 4)]
    raw = world.execute("SELECT event_id, revision, open, high, low, close, volume FROM market_events ORDER BY 1, 2")
    assert keep_actions(world.writer_url, "AAPL", actions, FIRST) == len(actions)
    assert keep_actions(world.writer_url, "AAPL", actions, FIRST) == 0
    # A date that the source moves is not counted twice.
    moved = [replace(one, ex_date=one.ex_date + timedelta(days=1)) if one.ex_date == SPLIT else one for one in actions]
    assert keep_actions(world.writer_url, "AAPL", moved, FIRST) == 2
    assert [one.ex_date for one in actions_of(world.writer_url, "AAPL") if one.numerator == 7] == [date(2014, 6, 10)]
    assert keep_actions(world.writer_url, "AAPL", actions, FIRST) == 2
    assert looked_at(world.writer_url, "AAPL") is not None
    assert actions_of(world.writer_url, "AAPL") == sorted(actions, key=lambda one: (one.ex_date, one.kind))
    vendor = list(csv.DictReader((shared_data / DAILY / "AAPL_factors.csv").open()))
    found = world.execute(
        "SELECT day, close, split_factor::float8, price_factor::float8, volume FROM adjusted_daily_bars "
        "WHERE symbol = 'AAPL' ORDER BY day"
    )
    closes = {day: Decimal(row["close"]) for day, row in daily(shared_data)}
    assert len(found) == len(bars) > 80
    for day, close, split_factor, price_factor, volume in found:
        prices, shares = factor_of(vendor, day)
        assert split_factor == pytest.approx(shares, rel=2e-4), day
        assert price_factor == pytest.approx(prices, rel=2e-6), day
        assert float(close) == pytest.approx(float(closes[day]) * split_factor * price_factor, rel=1e-9), day
        assert volume > 0
    # The split leaves no step, and what was traded stands as it was.
    ends = {day: float(close) for day, close, *_ in found if day in (FRIDAY, SPLIT)}
    assert 0.95 < ends[SPLIT] / ends[FRIDAY] < 1.05
    assert raw == world.execute(
        "SELECT event_id, revision, open, high, low, close, volume FROM market_events ORDER BY 1, 2"
    )


@pytest.fixture(scope="module")
def minutes(shared_data: Path) -> list[MarketEvent]:
    """Friday's recorded minutes in session, and the same ones on Monday in shares of a seventh."""
    session, monday = session_of(FRIDAY), session_of(SPLIT)
    assert session is not None
    assert monday is not None
    found = []
    with gzip.open(shared_data / MINUTES, "rt") as file:
        for row in csv.DictReader(file):
            start = int(datetime.fromisoformat(row["ts_utc"]).timestamp()) * MICROSECONDS
            if session.open_us <= start < session.close_us:
                prices = tuple(Decimal(row[name]) for name in ("open", "high", "low", "close"))
                found.append(
                    bar(
                        symbol="AAPL",
                        asset_class="stock",
                        source="yahoo",
                        start=start,
                        interval_seconds=60,
                        prices=prices,  # type: ignore[arg-type]
                        volume=Decimal(row["volume"]),
                        currency="USD",
                        ingested_at=start + 62 * MICROSECONDS,
                    )
                )
    assert len(found) == 390
    return found


def on_monday(bars: list[MarketEvent]) -> list[MarketEvent]:
    later = 3 * 86_400 * MICROSECONDS
    return [
        bar(
            symbol=each.symbol,
            asset_class="stock",
            source="yahoo",
            start=each.event_time + later,
            interval_seconds=60,
            prices=(each.open, each.high, each.low, each.close),
            volume=each.volume,
            currency="USD",
            ingested_at=each.ingested_at + later,
        )
        for each in as_traded(bars, Fraction(1, 7))
    ]


def test_a_split_makes_no_anomaly_and_no_finding(
    services: Services, minutes: list[MarketEvent], tmp_path: Path
) -> None:
    with database(services, "split_weekend") as world:
        world.execute("UPDATE instruments SET collected_since = %s", FRIDAY)
        ends = stream(world, {"stock": [*minutes, *on_monday(minutes)], "crypto": []})
        opening = datetime(2014, 6, 9, 13, 30, tzinfo=UTC)
        alone = "SELECT count(*) FROM price_anomalies WHERE metric = 'price' AND window_start = %s"
        assert world.execute(alone, opening) == [(0,)]
        assert world.execute("SELECT log_return FROM indicators WHERE window_start = %s", opening) == [(None,), (None,)]
        window = (datetime(2014, 6, 6, tzinfo=UTC), datetime(2014, 6, 10, tzinfo=UTC))
        untold = world.check(tmp_path, *window, suites=["market_events"], ends=ends, run_id="untold")
        assert [each.check_name for each in untold.checks if not each.passed] == ["market_events_level_steady"]
        split = CorporateAction("AAPL", "split", SPLIT, "yahoo", micros(SPLIT), Decimal(7), Decimal(1))
        keep_actions(world.writer_url, "AAPL", [split], FRIDAY)
        told = world.check(tmp_path, *window, suites=["market_events"], ends=ends, run_id="told")
        assert [each.check_name for each in told.checks if not each.passed] == []
        # The day before, asked for again, comes in the shares of now.
        adjusted = as_traded(minutes, Fraction(1, 7))
        with pytest.raises(OtherShares, match="390 bars are 0.1429 times those held"):
            backfill(world, adjusted, LIQUID, FRIDAY)
        assert world.execute("SELECT count(*) FROM market_events WHERE revision > 0") == [(0,)]
        [(steps,)] = world.execute(
            "SELECT max(greatest(close / before, before / close)) FROM (SELECT close, lag(close) OVER (ORDER BY "
            "window_start) AS before FROM adjusted_candles WHERE symbol = 'AAPL' AND interval = '1m') s"
        )
        assert steps < Decimal("1.05")
