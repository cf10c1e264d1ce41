"""Indicators and anomalies as the API reads them, page by page, on the real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from include.api.app import create_api
from include.market.instrument import Instrument
from include.storage import anomaly_reads, migrate
from include.storage.anomaly_reads import Anomaly, AnomalyFilter, AnomalyKey, AnomalyReader
from include.storage.indicator_reads import IndicatorReader
from include.storage.market_reads import MarketReader
from include.storage.read_connections import DatabaseUnavailable
from tests.stores import Services
from tests.trial_database import trial_database
from tests.unit.dashboard.twins import MemoryPrices

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SYMBOLS = ("AAPL", "BRK-B", "BTC-USD")
# 600 minutes of each symbol and interval; every seventh has an anomaly of one metric or of both.
_SEED = """
INSERT INTO market.indicators (symbol, interval, window_start, ema_12, ema_26, sma_20)
SELECT symbol, interval, %(start)s + n * interval '1 minute', 100 + n / 3.0, n / 7.0, CASE WHEN n >= 19 THEN n END
FROM unnest(%(symbols)s::text[]) symbol, unnest(ARRAY['1m', '5m']) interval, generate_series(0, 599) n;
INSERT INTO market.price_anomalies (symbol, interval, window_start, metric, value, mean, stddev, z_score, severity)
SELECT symbol, interval, %(start)s + n * interval '1 minute', metric, n, 0, 1, 3.5,
       (ARRAY['warning', 'high', 'critical'])[1 + n %% 3]
FROM unnest(%(symbols)s::text[]) symbol, unnest(ARRAY['1m', '5m']) interval, unnest(ARRAY['price', 'volume']) metric,
     generate_series(0, 599, 7) n WHERE metric = 'price' OR n %% 2 = 0;
INSERT INTO market.candles (symbol, interval, window_start, asset_class, open, high, low, close, volume, vwap,
                            event_count, source, is_final)
SELECT 'AAPL', interval, %(start)s + n * interval '5 minutes', 'stock', 1.5, 2.00000001, 1, 1.5, 10, 1.123456789012, 1,
       'yahoo', true
FROM unnest(ARRAY['1m', '5m']) interval, generate_series(0, 599) n;
ANALYZE
"""


@dataclass(frozen=True)
class Trial:
    owner_url: str
    reader_url: str

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            return connection.execute(statement, values or None).fetchall()


@pytest.fixture(scope="module")
def trial(services: Services) -> Iterator[Trial]:
    with trial_database(services, "indicator_reads") as owner_url:
        migrate.upgrade(owner_url, "sandbox")
        with psycopg.connect(owner_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            connection.execute(_SEED, {"start": START, "symbols": list(SYMBOLS)})
        yield Trial(owner_url, services.reader_database_url.replace("/financial_data", "/indicator_reads"))


@pytest.fixture
def indicators(trial: Trial) -> Iterator[IndicatorReader]:
    opened = IndicatorReader(trial.reader_url)
    yield opened
    opened.close()


@pytest.fixture
def anomalies(trial: Trial) -> Iterator[AnomalyReader]:
    opened = AnomalyReader(trial.reader_url)
    yield opened
    opened.close()


def key(row: Anomaly) -> AnomalyKey:
    return AnomalyKey(row.window_start, row.symbol, row.interval, row.metric)


def test_the_newest_indicators_of_a_range_are_oldest_first(indicators: IndicatorReader) -> None:
    found = indicators.indicators("AAPL", "1m", 3, before=START + 25 * MINUTE, start=START + 5 * MINUTE)
    assert [row.window_start for row in found] == [START + n * MINUTE for n in (22, 23, 24)]
    assert (found[0].sma_20, found[0].ema_26, found[0].volatility_20) == (22.0, 22 / 7, None)
    assert [row.sma_20 for row in indicators.indicators("AAPL", "5m", 2, before=START + 2 * MINUTE)] == [None, None]
    assert len(indicators.indicators("BTC-USD", "1m", 5_000)) == 600
    assert indicators.indicators("NOPE", "1m") == []


def test_the_calendars_ends_are_no_error(indicators: IndicatorReader, anomalies: AnomalyReader) -> None:
    first, last = (datetime(year, month, 1, tzinfo=UTC) for year, month in ((1, 1), (9999, 12)))
    assert len(indicators.indicators("AAPL", "1m", 5_000, last, first)) == 600
    assert indicators.indicators("AAPL", "1m", 10, first) == []
    assert anomalies.anomalies(AnomalyFilter(start=last)) == []
    assert len(anomalies.anomalies(AnomalyFilter(start=first, end=last), 10)) == 10


@pytest.mark.parametrize("limit", [1, 7, 100, 10_000])
@pytest.mark.parametrize(
    "wanted",
    [
        AnomalyFilter(start=START + 500 * MINUTE),
        AnomalyFilter(symbol="BRK-B", interval="5m", end=START + 200 * MINUTE),
        AnomalyFilter(metric="volume", severity="high"),
    ],
)
def test_the_pages_of_anomalies_are_the_whole_once(anomalies: AnomalyReader, wanted: AnomalyFilter, limit: int) -> None:
    if limit == 1:
        wanted = AnomalyFilter(symbol="AAPL", start=START + 580 * MINUTE)
    whole = anomalies.anomalies(wanted, 10_000)
    paged: list[Anomaly] = []
    while page := anomalies.anomalies(wanted, limit, key(paged[-1]) if paged else None):
        assert len(page) <= limit
        paged += page
    assert paged == whole != []
    assert [row.window_start for row in whole] == sorted((row.window_start for row in whole), reverse=True)
    for name in ("symbol", "interval", "metric", "severity"):
        assert {getattr(row, name) for row in whole} <= {getattr(wanted, name)} or getattr(wanted, name) is None


def test_the_filters_leave_what_they_say(trial: Trial, anomalies: AnomalyReader) -> None:
    wanted = AnomalyFilter("AAPL", "1m", "volume", "critical", START, START + 300 * MINUTE)
    stored = trial.rows(
        "SELECT count(*) FROM market.price_anomalies WHERE symbol = 'AAPL' AND interval = '1m' AND metric = 'volume'"
        " AND severity = 'critical' AND window_start < %s",
        START + 300 * MINUTE,
    )
    assert [(len(anomalies.anomalies(wanted)),)] == stored != [(0,)]


def test_the_old_question_has_the_same_answer(anomalies: AnomalyReader) -> None:
    end = START + 300 * MINUTE
    assert anomalies.anomalies_between(START, end) == anomalies.anomalies(AnomalyFilter(start=START, end=end), 1_000)
    assert anomalies.anomalies_between(START, end, "AAPL", 5) == anomalies.anomalies(
        AnomalyFilter("AAPL", start=START, end=end), 5
    )


def test_a_page_deep_in_the_past_goes_by_an_index(trial: Trial, anomalies: AnomalyReader) -> None:
    with psycopg.connect(trial.owner_url, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET enable_seqscan = off")
        bound = {name: None for name in ("symbol", "interval", "metric", "severity", "start", "end")}
        place = {"last_start": START, "last_symbol": "AAPL", "last_interval": "1m", "last_metric": "price"}
        plan = connection.execute(
            b"EXPLAIN " + anomaly_reads._MATCHING.as_bytes(connection), {**bound, **place, "limit": 9}
        )
        text = "\n".join(line for (line,) in plan)
    assert "price_anomalies_time" in text
    assert "Index Cond: (window_start <=" in text


def test_what_is_down_is_said(trial: Trial) -> None:
    nowhere = "postgresql://reader@127.0.0.1:1/nowhere"
    with pytest.raises(DatabaseUnavailable):
        IndicatorReader(nowhere).indicators("AAPL", "1m")
    with pytest.raises(DatabaseUnavailable):
        AnomalyReader(nowhere).anomalies(AnomalyFilter())


@pytest.mark.parametrize(
    ("address", "name", "count"),
    [
        ("/api/v1/candles/AAPL?interval=5m&limit=250", "candles", 600),
        ("/api/v1/candles/AAPL?interval=15m&limit=77", "candles", 200),
        ("/api/v1/candles/AAPL?interval=1d&limit=1", "candles", 3),
        ("/api/v1/indicators/BRK-B?limit=250", "indicators", 600),
        ("/api/v1/anomalies?symbol=BRK-B&limit=50", "anomalies", 258),
    ],
)
def test_the_api_pages_through_the_real_tables(trial: Trial, address: str, name: str, count: int) -> None:
    reader = MarketReader(trial.reader_url, timedelta(minutes=10))
    collected = [Instrument(symbol, "stock", symbol, {"yahoo": symbol}) for symbol in SYMBOLS]
    app = create_api(
        "sandbox",
        collected,
        reader,
        MemoryPrices(),
        indicators=IndicatorReader(trial.reader_url),
        anomalies=AnomalyReader(trial.reader_url),
    )
    with TestClient(app) as client:
        rows: list[str] = []
        page: str | None = address
        while page:
            body = client.get(page).json()
            rows += [f"{row}" for row in body[name]]
            page = body["next"]
        assert (len(rows), len(set(rows))) == (count, count)
        for beyond in ("start=9999-12-31T23:59:59.9Z", "end=0001-01-01T00:00:00Z", "end=9999-12-31T23:59:59.9Z"):
            path, _, query = address.partition("?")
            answer = client.get(f"{path}?{query}&{beyond}")
            assert answer.status_code == 200
        answer = client.get(f"{address}&format=parquet")
        assert answer.content[:4] == b"PAR1"
    reader.close()
