"""In-memory twins of the stores, and candles to fill them with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import redis

from include.market.candle import Candle, Interval
from include.market.instrument import Instrument
from include.market.timeframe import BASE, Timeframe, rolled_up
from include.storage.alert_reads import Notice
from include.storage.anomaly_reads import Anomaly, AnomalyFilter, AnomalyKey
from include.storage.chart_reads import Marks
from include.storage.indicator_reads import IndicatorRow
from include.storage.live_reads import LiveState
from include.storage.market_reads import DatabaseUnavailable

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
APPLE = Instrument("AAPL", "stock", "Apple Inc.", {"yahoo": "AAPL"})
BITCOIN = Instrument("BTC-USD", "crypto", "Bitcoin", {"binance": "BTCUSDT"})
INSTRUMENTS = (APPLE, BITCOIN)


def candle(minute: int = 0, close: str = "101.5", **changes: Any) -> Candle:
    """One 1-minute candle of AAPL, `minute` minutes after START."""
    opened = START + timedelta(minutes=minute)
    return replace(
        Candle(
            symbol="AAPL",
            interval="1m",
            window_start=opened,
            open=Decimal("101"),
            high=Decimal("102.25"),
            low=Decimal("100.5"),
            close=Decimal(close),
            volume=Decimal("1200"),
            vwap=Decimal("101.25"),
            event_count=1,
            source="yahoo",
            is_final=True,
            updated_at=opened + timedelta(seconds=61),
        ),
        **changes,
    )


class MemoryReader:
    """`MarketReader` over a list; `up = False` is an outage."""

    def __init__(self, candles: Sequence[Candle] = ()) -> None:
        self.held = list(candles)
        self.up = True

    def candles(
        self,
        symbol: str,
        interval: Timeframe,
        limit: int = 500,
        before: datetime | None = None,
        start: datetime | None = None,
        as_of: datetime | None = None,
    ) -> list[Candle]:
        found = [
            each
            for each in self._of(symbol, BASE[interval])
            if (before is None or each.window_start < before) and (start is None or each.window_start >= start)
        ]
        return (found if interval == BASE[interval] else rolled_up(found, interval))[-limit:]

    def latest_closes(self, symbols: Sequence[str]) -> dict[str, Candle]:
        return {symbol: self._of(symbol, "1m")[-1] for symbol in symbols if self._of(symbol, "1m")}

    def sparklines(self, symbols: Sequence[str], points: int) -> dict[str, list[Decimal]]:
        lines = {symbol: [each.close for each in self._of(symbol, "5m")][-points:] for symbol in symbols}
        return {symbol: line for symbol, line in lines.items() if line}

    def last_candle_at(self) -> datetime | None:
        self._answer()
        return max((each.window_start for each in self.held), default=None)

    def _of(self, symbol: str, interval: str) -> list[Candle]:
        self._answer()
        return [each for each in self.held if each.symbol == symbol and each.interval == interval]

    def _answer(self) -> None:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer: connection refused")


class MemoryPrices:
    """`CacheManager` over a dictionary; `up = False` is an outage."""

    def __init__(self, held: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.held = dict(held or {})
        self.up = True

    def get_many(self, symbols: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        self.ping()
        return {symbol: self.held[symbol] for symbol in symbols if symbol in self.held}

    def ping(self) -> bool:
        if not self.up:
            raise redis.ConnectionError("connection refused")
        return True


def cached(price: str, as_of: datetime = START, change_pct: float | None = 1.25) -> dict[str, Any]:
    """A Redis record as the contract has it."""
    moment = int(as_of.timestamp() * 1_000_000)
    return {
        "price": price,
        "event_time": moment,
        "as_of": moment,
        "source": "yahoo",
        "currency": "USD",
        "change_pct": change_pct,
    }


class MemoryMarks:
    """`ChartReader` that knows these marks of every chart, and what it was asked."""

    def __init__(self, held: Marks | None = None) -> None:
        self.held = held or Marks()
        self.asked: list[tuple[str, str, datetime, datetime | None]] = []

    def marks(self, symbol: str, interval: str, start: datetime, end: datetime | None = None) -> Marks:
        self.asked.append((symbol, interval, start, end))
        return self.held


class MemoryLive:
    """`LiveReader`; `up = False` is an outage."""

    def __init__(self) -> None:
        self.up = True
        self.held = LiveState(1.0, True, ["crypto"], "1")

    def state(self) -> LiveState:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer")
        return self.held


class MemoryAlerts:
    """`AlertReader` and `Acknowledger` over a list; `up = False` is an outage."""

    def __init__(self, held: Sequence[Notice] = ()) -> None:
        self.held = list(held)
        self.seen: list[tuple[Any, ...]] = []
        self.up = True

    def newest(self, limit: int = 60) -> list[Notice]:
        self._answer()
        return self.held[:limit]

    def anomaly(self, symbol: str, interval: str, window_start: datetime, metric: str, by: str) -> None:
        self._answer()
        self.seen.append((symbol, interval, window_start, metric, by))

    def alert(self, id: int, by: str) -> None:
        self._answer()
        self.seen.append((id, by))

    def _answer(self) -> None:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer")


def indicator(minute: int = 0, **changes: Any) -> IndicatorRow:
    """Those of AAPL's 1-minute candle `minute` minutes after START."""
    usual = IndicatorRow("AAPL", "1m", START + timedelta(minutes=minute), ema_12=101.5, ema_26=0.1 + 0.2)
    return replace(usual, **changes)


def anomaly(minute: int = 0, **changes: Any) -> Anomaly:
    """One of AAPL's price, `minute` minutes after START."""
    start = START + timedelta(minutes=minute)
    detected = start + timedelta(seconds=61)
    usual = Anomaly("AAPL", "1m", start, "price", 0.0125, 1e-05, 0.0031, 4.03, "high", detected)
    return replace(usual, **changes)


class MemoryIndicators:
    """`IndicatorReader` over a list, oldest first; `up = False` is an outage."""

    def __init__(self, held: Sequence[IndicatorRow] = ()) -> None:
        self.held = list(held)
        self.up = True

    def indicators(
        self,
        symbol: str,
        interval: Interval,
        limit: int = 500,
        before: datetime | None = None,
        start: datetime | None = None,
    ) -> list[IndicatorRow]:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer")
        return [
            each
            for each in self.held
            if (each.symbol, each.interval) == (symbol, interval)
            and (before is None or each.window_start < before)
            and (start is None or each.window_start >= start)
        ][-limit:]


class MemoryAnomalies:
    """`AnomalyReader` over a list; `up = False` is an outage."""

    def __init__(self, held: Sequence[Anomaly] = ()) -> None:
        self.held = list(held)
        self.up = True

    def anomalies(self, wanted: AnomalyFilter, limit: int = 500, after: AnomalyKey | None = None) -> list[Anomaly]:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer")

        def place(row: Anomaly | AnomalyKey) -> tuple[float, str, str, str]:
            return -row.window_start.timestamp(), row.symbol, row.interval, row.metric

        named = ("symbol", "interval", "metric", "severity")
        found = [
            each
            for each in sorted(self.held, key=place)
            if all(getattr(wanted, name) in (None, getattr(each, name)) for name in named)
            and (wanted.start is None or each.window_start >= wanted.start)
            and (wanted.end is None or each.window_start < wanted.end)
            and (after is None or place(each) > place(after))
        ]
        return found[:limit]
