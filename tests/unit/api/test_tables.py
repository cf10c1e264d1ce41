"""One table in three formats: the same columns and the same exact figures in each."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.api import tables
from include.market.timeframe import TIMEFRAMES
from tests.unit.api.whole import client_of
from tests.unit.dashboard.twins import (
    START,
    MemoryAnomalies,
    MemoryIndicators,
    MemoryReader,
    anomaly,
    candle,
    indicator,
)

ROWS = {
    "candles": ("/api/v1/candles/AAPL", "AAPL-1m"),
    "indicators": ("/api/v1/indicators/AAPL", "AAPL-1m-indicators"),
    "anomalies": ("/api/v1/anomalies", "anomalies"),
    "events": ("/api/v1/events/AAPL?start=2026-03-02T13:30:00Z&end=2026-03-02T13:40:00Z", "AAPL-events"),
}
HARD = candle(
    0,
    open=Decimal("9999999999.99999999"),
    low=Decimal("0.00000001"),
    volume=None,
    vwap=Decimal("1234567.123456789012"),
    updated_at=START.replace(microsecond=123456),
)


def parquet(answer: Any) -> pa.Table:
    return pq.read_table(io.BytesIO(answer.content))


def asked(path: str, format: str, **stores: Any) -> Any:
    return client_of(**stores).get(f"{path}{'&' if '?' in path else '?'}format={format}")


def said(value: Any) -> str:
    """A JSON value in the words of the CSV."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return str(value)


@pytest.mark.parametrize("name", ROWS)
def test_the_formats_have_the_same_columns_and_rows(name: str) -> None:
    path, file = ROWS[name]
    as_json = asked(path, "json").json()
    answer = asked(path, "csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == f'attachment; filename="{file}.csv"'
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(lines) == len(as_json[name]) > 0
    for line, row in zip(lines, as_json[name], strict=True):
        whole = {"symbol": "AAPL", "interval": "1m", **row}
        assert line == {key: said(whole[key]) for key in line}
        assert set(row) <= set(line)
    answer = asked(path, "parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert answer.headers["content-disposition"] == f'attachment; filename="{file}.parquet"'
    table = parquet(answer)
    assert table.column_names == list(lines[0])
    assert table.num_rows == len(lines)


def test_parquet_has_decimals_and_times_as_the_tables_have_them() -> None:
    table = parquet(asked("/api/v1/candles/AAPL", "parquet", reader=MemoryReader([HARD])))
    types = {field.name: field.type for field in table.schema}
    assert types["open"] == types["close"] == pa.decimal128(18, 8)
    assert types["volume"] == pa.decimal128(28, 8)
    assert types["window_start"] == pa.timestamp("us", tz="UTC")
    assert table.schema.metadata == {b"market": b"sandbox"}
    (row,) = table.to_pylist()
    for name in ("open", "low", "vwap", "volume", "is_final", "updated_at"):
        assert row[name] == getattr(HARD, name)


def test_csv_has_exact_figures_without_an_exponent_and_iso_times() -> None:
    (line,) = csv.DictReader(io.StringIO(asked("/api/v1/candles/AAPL", "csv", reader=MemoryReader([HARD])).text))
    assert (line["open"], line["low"], line["volume"]) == ("9999999999.99999999", "0.00000001", "")
    assert line["updated_at"] == "2026-03-02T14:30:00.123456Z"


@pytest.mark.parametrize("interval", TIMEFRAMES)
def test_rolled_up_candles_fit_their_columns(interval: str) -> None:
    thirds = {"volume": Decimal("0.3"), "vwap": Decimal("0.333333333333")}
    held = [candle(minute, **thirds) for minute in range(50)]
    held += [candle(5 * n, interval="5m", **{**thirds, "volume": Decimal(n)}) for n in range(50)]
    answer = asked(f"/api/v1/candles/AAPL?interval={interval}", "parquet", reader=MemoryReader(held))
    assert f"AAPL-{interval}.parquet" in answer.headers["content-disposition"]
    assert parquet(answer).num_rows > 0


def test_an_empty_answer_has_its_columns() -> None:
    stores = {"indicators": MemoryIndicators(), "anomalies": MemoryAnomalies()}
    path = "/api/v1/indicators/AAPL"
    assert asked(path, "json", **stores).json()["indicators"] == []
    assert asked(path, "csv", **stores).text == ",".join(tables.INDICATORS.names) + "\n"
    assert parquet(asked(path, "parquet", **stores)).schema.names == tables.INDICATORS.names


def test_floating_point_figures_come_back_bit_for_bit() -> None:
    stores = {
        "indicators": MemoryIndicators([indicator(ema_26=0.1 + 0.2, volatility_20=5e-324)]),
        "anomalies": MemoryAnomalies([anomaly(z_score=-1.7976931348623157e308)]),
    }
    for format, read in (("json", None), ("csv", pl.read_csv), ("parquet", pl.read_parquet)):
        first, second = (asked(f"/api/v1/{path}", format, **stores) for path in ("indicators/AAPL", "anomalies"))
        if read is None:
            row, other = first.json()["indicators"][0], second.json()["anomalies"][0]
        else:
            row, other = (read(io.BytesIO(each.content)).to_dicts()[0] for each in (first, second))
        assert (row["ema_26"], row["volatility_20"], row["sma_20"]) == (0.1 + 0.2, 5e-324, None)
        assert other["z_score"] == -1.7976931348623157e308


def test_polars_reads_the_parquet_answer() -> None:
    frame = pl.read_parquet(io.BytesIO(asked("/api/v1/candles/AAPL", "parquet").content))
    assert frame["close"].dtype == pl.Decimal(18, 8)
    assert frame["window_start"][0] == datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
