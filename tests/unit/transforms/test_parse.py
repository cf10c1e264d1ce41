from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

import spark_jobs.transforms.parse as parse_module
from include.market.event import MarketEvent, bar, encode
from spark_jobs.transforms.parse import parse

NOW = 1_700_000_000_000_000
RECORDS = pa.schema(
    [
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("us", "UTC")),
    ]
)
GOOD: dict[str, Any] = {
    "event_id": "yahoo:AAPL:bar60:1699999920000000",
    "symbol": "AAPL",
    "asset_class": "stock",
    "source": "yahoo",
    "kind": "bar",
    "event_time": 1_699_999_920_000_000,
    "interval_seconds": 60,
    "open": "190.1",
    "high": "191.00000001",
    "low": "190",
    "close": "190.5",
    "volume": "1234.5",
    "currency": "USD",
    "ingested_at": 1_699_999_985_000_000,
    "schema_version": 1,
}


def changed(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def run(spark: SparkSession, values: list[bytes | None], asset_class: Any = "stock") -> list[dict[str, Any]]:
    rows = [
        {"value": value, "topic": "t", "partition": 1, "offset": offset, "timestamp": NOW}
        for offset, value in enumerate(values)
    ]
    records = spark.createDataFrame(pa.Table.from_pylist(rows, schema=RECORDS))
    parsed = parse(records, asset_class).toArrow().to_pylist()
    return sorted(parsed, key=lambda row: row["kafka_offset"])


BAD: dict[str, tuple[bytes | None, str]] = {
    "tombstone": (None, "not UTF-8"),
    "empty": (b"", "not one JSON object"),
    "broken utf-8": (changed().replace(b"AAPL", b"\xff\xfe"), "not UTF-8"),
    "half an object": (changed()[:-9], "not one JSON object"),
    "two objects": (changed() + changed(), "not one JSON object"),
    "two objects, comma": (changed() + b"," + changed(), "not one JSON object"),
    "text behind": (changed() + b" x", "not one JSON object"),
    "array": (b"[" + changed() + b"]", "not one JSON object"),
    "null": (b"null", "not one JSON object"),
    "number": (b"5", "not one JSON object"),
    "deeply nested": (b'{"a":' * 50_000, "not one JSON object"),
    "single quotes": (changed().replace(b'"', b"'"), "not one JSON object"),
    "bare NaN": (changed().replace(b'"190.5"', b"NaN"), "not one JSON object"),
    "empty object": (b"{}", "is missing"),
    **{f"no {name}": (without(name), f"{name} is missing") for name in GOOD if name != "volume"},
    **{f"null {name}": (changed(**{name: None}), f"{name} is missing") for name in GOOD if name != "volume"},
    "next version": (changed(schema_version=2), "schema_version 2 is not known"),
    "id is a number": (changed(event_id=5), "not a JSON string"),
    "id too long": (changed(event_id="x" * 257), "event_id is not a plain name"),
    "id with NUL": (changed(event_id="a\0b"), "event_id is not a plain name"),
    "id with newline at the end": (changed(event_id="ab\n"), "event_id is not a plain name"),
    "symbol with blank": (changed(symbol="AA PL"), "symbol is not a plain name"),
    "symbol with markup and quote": (changed(symbol='<b a=" ">'), "symbol is not a plain name"),
    "empty symbol": (changed(symbol=""), "symbol is not a plain name"),
    "unknown source": (changed(source="bloomberg"), "source is not known"),
    "unknown kind": (changed(kind="tick"), "kind is not bar"),
    "wrong topic": (changed(asset_class="crypto"), "asset_class is not stock"),
    "price is a number": (changed(close=190.5), "not a JSON string"),
    "price is true": (changed(close=True), "not a JSON string"),
    "price is an object": (changed(close={"a": 1}), "not a JSON string"),
    "price is text": (changed(close="abc"), "close is not a finite decimal"),
    "price is empty": (changed(close=""), "close is not a finite decimal"),
    "price is NaN": (changed(close="NaN"), "close is not a finite decimal"),
    "price is Infinity": (changed(high="Infinity"), "high is not a finite decimal"),
    "price with exponent": (changed(close="1.905e2"), "close is not a finite decimal"),
    "price with a newline": (changed(close="190.5\n"), "close is not a finite decimal"),
    "price with other digits": (changed(close="١٩٠"), "close is not a finite decimal"),
    "nine decimals": (changed(close="190.500000001"), "close has more than 8 decimals"),
    "eleven digits": (changed(high="12345678901"), "high has too many digits"),
    "a million digits": (changed(high="1" * 1_000_000), "high is not a finite decimal"),
    "volume of 21 digits": (changed(volume="1" * 21), "volume has too many digits"),
    "volume is a number": (changed(volume=5), "not a JSON string"),
    "zero price": (changed(low="0"), "a price is not above zero"),
    "negative price": (changed(low="-1"), "a price is not above zero"),
    "low above high": (changed(low="192"), "low <= open, close <= high"),
    "open above high": (changed(open="191.1"), "low <= open, close <= high"),
    "close under low": (changed(close="189"), "low <= open, close <= high"),
    "negative volume": (changed(volume="-0.00000001"), "volume is negative"),
    "bar without length": (changed(interval_seconds=0), "interval_seconds does not fit"),
    "bar of negative length": (changed(interval_seconds=-60), "interval_seconds does not fit"),
    "bar of endless length": (changed(interval_seconds=2**31), "interval_seconds does not fit"),
    "quote with length": (changed(kind="quote"), "interval_seconds does not fit"),
    "quote of negative length": (changed(kind="quote", interval_seconds=-1), "interval_seconds does not fit"),
    "time is text": (changed(event_time="1699999920000000"), "event_time is missing or not a whole number"),
    "time is a fraction": (changed(event_time=1.5), "event_time is missing or not a whole number"),
    "time beyond 64 bits": (changed(event_time=2**63), "event_time is missing or not a whole number"),
    "time zero": (changed(event_time=0), "event time is not after 1970"),
    "5 s and 1 us ahead": (changed(event_time=NOW + 5_000_001), "event time lies in the future"),
    "largest time": (changed(event_time=2**63 - 1), "event time lies in the future"),
    "ingested never": (changed(ingested_at=0), "ingested_at is not a time"),
    "ingested in year 20000": (changed(ingested_at=569_000_000_000_000_000), "ingested_at is not a time"),
}


@pytest.fixture(scope="module")
def refused(spark: SparkSession) -> dict[str, dict[str, Any]]:
    return dict(zip(BAD, run(spark, [value for value, _ in BAD.values()]), strict=True))


@pytest.mark.parametrize("case", BAD)
def test_refused_with_a_reason_and_its_bytes(refused: dict[str, dict[str, Any]], case: str) -> None:
    value, reason = BAD[case]
    row = refused[case]
    assert row["reason"] is not None
    assert reason in row["reason"]
    assert row["payload"] == (None if value is None else value.hex().upper())
    assert row["event_time"] is None, "a refused time must not reach the watermark"
    assert row["event_id"] is None


GOOD_ONES: dict[str, bytes] = {
    "plain": changed(),
    "null volume": changed(volume=None),
    "no volume": without("volume"),
    "zero volume": changed(volume="0"),
    "zeros behind eight decimals": changed(close="190.5000000000"),
    "largest figures": changed(high="9999999999.99999999", volume="99999999999999999999.99999999"),
    "smallest price": changed(low="0.00000001"),
    "exactly 5 s ahead": changed(event_time=NOW + 5_000_000),
    "a field more": changed(venue={"a": [1, 2]}),
    "spaces around": b" \n" + changed() + b"\n ",
    "quote": changed(kind="quote", interval_seconds=0),
    "trade": changed(kind="trade", interval_seconds=0),
}


@pytest.mark.parametrize("case", GOOD_ONES)
def test_taken(spark: SparkSession, case: str) -> None:
    (row,) = run(spark, [GOOD_ONES[case]])
    assert row["reason"] is None
    assert row["payload"] is None
    sent = json.loads(GOOD_ONES[case])
    for name in ("open", "high", "low", "close", "volume"):
        assert row[name] == (None if sent.get(name) is None else Decimal(sent[name]))
    assert row["event_time"].timestamp() == sent["event_time"] / 1e6
    assert row["interval_seconds"] == sent["interval_seconds"]


def compact(value: bytes) -> bytes:
    """The same object as our producers write it; what is no object stays as it is."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()


def test_our_own_encoding_is_judged_as_every_other(spark: SparkSession) -> None:
    """By one expression and whole columns here, record by record there: the rows are the same."""
    spaced = [value for value in [*(value for value, _ in BAD.values()), *GOOD_ONES.values()] if value is not None]
    cases = [value for value in spaced if value.isascii()]
    found, expected = (run(spark, values) for values in ([compact(value) for value in cases], cases))
    for one, other in zip(found, expected, strict=True):
        assert one | {"payload": None} == other | {"payload": None}


def test_our_own_encoding_is_recognised() -> None:
    """Else every record would take the slow way, unseen."""
    event = MarketEvent(
        **{**GOOD, **{name: Decimal(GOOD[name]) for name in ("open", "high", "low", "close", "volume")}}
    )
    values = [encode(event), encode(msgspec.structs.replace(event, volume=None))]
    for value in values:
        assert re.fullmatch(parse_module._our_encoding() % "stock", value.decode()), value


def test_what_the_producers_encode_comes_out_unchanged(spark: SparkSession) -> None:
    tiny = Decimal("1E-8")
    event = bar(
        symbol="BTC-USD",
        asset_class="crypto",
        source="binance",
        start=NOW,
        interval_seconds=60,
        prices=(tiny, tiny * 2, tiny, tiny * 2),
        volume=Decimal("1E+5"),
        currency="USDT",
        ingested_at=NOW,
    )
    (row,) = run(spark, [encode(event)], "crypto")
    assert row["reason"] is None
    assert (row["open"], row["high"], row["volume"]) == (tiny, tiny * 2, Decimal(100_000))
    assert (row["event_id"], row["currency"]) == (event.event_id, "USDT")


def test_a_bad_record_keeps_its_readable_symbol(spark: SparkSession) -> None:
    (row,) = run(spark, [changed(close="abc")])
    assert (row["symbol"], row["source"]) == ("AAPL", "yahoo")
    assert (row["topic"], row["kafka_partition"], row["kafka_offset"]) == ("t", 1, 0)
