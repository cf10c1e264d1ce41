"""Which events a candle counts and why not the others, against the stream's own definition; findings by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.market.candle import INTERVALS, Candle, Interval
from include.market.tables import EVENT_SCHEMA
from include.storage.lineage_rows import StoredRow
from include.storage.lineage_rules import differing, findings_by_run, judged, keys_about, window_of
from spark_jobs.transforms.candles import candles_of_table
from tests.unit.dashboard.lineage_twins import BATCH, row
from tests.unit.dashboard.twins import START, candle

WINDOW = (START, START + timedelta(minutes=1))


def verdicts(rows: Sequence[StoredRow], interval: Interval = "1m") -> list[tuple[str, int, str]]:
    return [(each.row.event_id, each.row.revision, each.verdict) for each in judged(rows, interval)]


def test_the_newest_revision_counts() -> None:
    rows = [row(), row(revision=2, kafka_offset=None), row(revision=1, kafka_offset=None)]
    found = {each.row.revision: (each.verdict, each.why) for each in judged(rows, "1m")}
    assert found == {
        0: ("superseded", "revision 2 counts"),
        1: ("superseded", "revision 2 counts"),
        2: ("used", None),
    }


@pytest.mark.parametrize(("state", "counts"), [("held", 0), ("dropped", 0), ("released", 1)])
def test_a_revision_in_quarantine_leaves_its_place_to_the_one_before(state: str, counts: int) -> None:
    rows = [row(), row(revision=1, kafka_offset=None, quarantine=state, check_name="wicks", reason="A bad print.")]
    found = {each.row.revision: each for each in judged(rows, "1m")}
    assert [number for number, each in found.items() if each.is_used] == [counts]
    if not counts:
        assert found[1].verdict == "quarantined"
        assert str(found[1].why).endswith("quarantine by wicks: A bad print.")


def test_of_two_bars_of_one_minute_the_first_by_offset_counts() -> None:
    rows = [
        row(event_id="alpha_vantage:AAPL:bar60:0", kafka_offset=41),
        row(kafka_offset=40),
        row(event_id="binance:AAPL:bar60:0", kafka_offset=None),
    ]
    found = {each.row.event_id: each for each in judged(rows, "1m")}
    assert [name for name, each in found.items() if each.is_used] == ["yahoo:AAPL:bar60:0"]
    second = found["alpha_vantage:AAPL:bar60:0"]
    assert (second.verdict, second.why) == ("second_bar", "yahoo:AAPL:bar60:0 tells of the same 60 s")
    trades = [replace(each, kind="trade", interval_seconds=0) for each in rows]
    assert {verdict for *_, verdict in verdicts(trades)} == {"used"}, "trades of one moment are facts of their own"


def test_a_bar_longer_than_the_window_counts_in_the_longer_one_only() -> None:
    rows = [row(), row(event_id="long", interval_seconds=300)]
    assert verdicts(rows) == [("long", 0, "too_long"), ("yahoo:AAPL:bar60:0", 0, "used")]
    assert {verdict for *_, verdict in verdicts(rows, "5m")} == {"used"}


def test_quotes_count_only_alone() -> None:
    quote = row(event_id="quote", kind="quote", interval_seconds=0)
    assert verdicts([quote]) == [("quote", 0, "used")]
    assert ("quote", 0, "outranked") in verdicts([quote, row()])
    too_long = row(event_id="long", interval_seconds=300)
    assert ("quote", 0, "used") in verdicts([quote, too_long]), "what does not fit outranks nothing"
    held = row(quarantine="held", check_name="wicks", reason="")
    assert ("quote", 0, "used") in verdicts([quote, held])


STORED = st.builds(
    row,
    event_id=st.sampled_from("abcdef"),
    kind=st.sampled_from(["bar", "bar", "trade", "quote"]),
    source=st.sampled_from(["yahoo", "binance"]),
    event_time=st.sampled_from([START, START + timedelta(seconds=15), START + timedelta(seconds=59)]),
    interval_seconds=st.sampled_from([60, 60, 300]),
    open=st.sampled_from([Decimal(95), Decimal(99)]),
    close=st.sampled_from([Decimal(96), Decimal(97)]),
    high=st.sampled_from([Decimal(100), Decimal(101)]),
    low=st.sampled_from([Decimal(90), Decimal(91)]),
    volume=st.sampled_from([None, Decimal("0.00000001"), Decimal(3), Decimal(10**19)]),
    kafka_offset=st.none() | st.integers(0, 20),
    revision=st.integers(0, 2),
)


@given(st.lists(STORED, min_size=1, max_size=8))
def test_the_used_events_are_those_of_the_candle(rows: list[StoredRow]) -> None:
    """As `transforms/candles.py` counts them, however they come; one event has one time, kind and length."""
    facts: dict[str, StoredRow] = {}
    known: dict[tuple[str, int], StoredRow] = {}
    for each in rows:
        like = facts.setdefault(each.event_id, each)
        length = like.interval_seconds if like.kind == "bar" else 0
        shaped = replace(each, event_time=like.event_time, kind=like.kind, interval_seconds=length)
        shaped = replace(shaped, kafka_partition=None if each.kafka_offset is None else 1)
        known[shaped.event_id, shaped.revision] = shaped
    stored = list(known.values())
    made = {found.interval: found for found in counted(stored)}
    for interval in INTERVALS:
        used = [each.row for each in judged(stored, interval) if each.is_used]
        if interval in made:
            assert differing(made[interval], used) == ()
        else:
            assert used == []


def counted(rows: Sequence[StoredRow]) -> list[Candle]:
    columns = {name: [getattr(each, name, "AAPL") for each in rows] for name in EVENT_SCHEMA.names}
    arrays = [pa.array(columns[field.name], field.type) for field in EVENT_SCHEMA]
    table = candles_of_table(pa.table(arrays, schema=EVENT_SCHEMA))
    return [Candle(**found, is_final=True, updated_at=START) for found in table.to_pylist()]


def test_what_differs_is_named() -> None:
    held = candle()
    assert differing(held, [row()]) == ()
    assert differing(held, [row(close=Decimal("101.50000001"))]) == ("close",)
    assert differing(held, [row(), row(event_time=START + timedelta(seconds=30))]) == ("volume", "event_count")
    assert differing(held, []) == ("event_count",)


@pytest.mark.parametrize(
    ("key", "is_about"),
    [
        ({"symbol": "AAPL", "window_start": "2026-03-02 14:30:00+00:00"}, True),
        ({"symbol": "AAPL", "window_start": "2026-03-02 14:31:00+00:00"}, False),
        ({"symbol": "AAPL", "event_time": "2026-03-02 14:30:59.999999+00:00"}, True),
        ({"symbol": "AAPL", "times": 2}, True),
        ({"symbol": "MSFT", "window_start": "2026-03-02 14:30:00+00:00"}, False),
        ({"query_name": "events_stock", "checkpoint_id": "0b5e7f1e-checkpoint", "batch_id": 7}, True),
        ({"query_name": "events_stock", "checkpoint_id": "0b5e7f1e-checkpoint", "batch_id": 8}, False),
        ({"topic": "x"}, False),
    ],
)
def test_a_key_is_about_the_candle_by_symbol_and_time_or_by_batch(key: dict[str, Any], is_about: bool) -> None:
    assert keys_about([key], "AAPL", WINDOW, [BATCH]) == ([key] if is_about else [])


def test_findings_are_those_of_the_symbol_and_those_with_a_key_of_it() -> None:
    failed = {"run_id": "run", "suite": "s", "check_name": "c", "severity": "info", "symbol": None, "observed": "o",
              "expected": "e", "reason": "r", "failing_keys": [{"symbol": "MSFT"}, {"symbol": "AAPL"}]}  # fmt: skip
    rows = [failed, {**failed, "failing_keys": [], "symbol": "AAPL"}, {**failed, "symbol": "MSFT", "failing_keys": []}]
    found = findings_by_run([*rows, {**failed, "run_id": "none", "failing_keys": []}], "AAPL", WINDOW, [])
    assert set(found) == {"run"}
    assert [(each.symbol, each.keys) for each in found["run"]] == [(None, [{"symbol": "AAPL"}]), ("AAPL", [])]


def test_a_moment_lies_in_one_window() -> None:
    moment = datetime(2026, 3, 2, 14, 34, 59, 999_999, tzinfo=UTC)
    assert window_of(moment, "1m") == (START + timedelta(minutes=4), START + timedelta(minutes=5))
    assert window_of(moment, "5m") == (START, START + timedelta(minutes=5))
    before = datetime(1969, 12, 31, 23, 58, 30, tzinfo=UTC)
    assert window_of(before, "5m")[0] == datetime(1969, 12, 31, 23, 55, tzinfo=UTC)
    with pytest.raises(OverflowError):
        window_of(datetime.max.replace(tzinfo=UTC), "1m")
