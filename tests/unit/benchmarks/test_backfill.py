"""The backfill's benchmark: its data, its two sides on the same events, its figures and its table."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from benchmarks import backfill
from benchmarks.backfill_parts.agreement import FiguresDiffer, must_agree
from benchmarks.backfill_parts.figures import ratios, seconds, slopes
from benchmarks.backfill_parts.month import MONTH, REST_MINUTES, START, SYMBOLS, decimals, events
from benchmarks.backfill_parts.report import show
from benchmarks.backfill_parts.sides import OURS, POLARS, TABLES, Times, ours, theirs
from benchmarks.backfill_parts.warehouse import bars_of, figures
from include.errors import MarketDataError
from include.market.tables import EVENT_SCHEMA, PRICE

FEW = ("SYM00", "SYM01")


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    """Long enough for a rest, a change of source there and back, unknown volumes and anomalies."""
    return events(2 * 9_000, FEW)


@pytest.fixture(scope="module")
def clean(bars: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(bars, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def mine(clean: Path) -> dict[str, pa.Table]:
    return ours(clean)


def written(table: pa.Table, folder: Path) -> Path:
    pq.write_table(table, folder / "events.parquet")
    return folder / "events.parquet"


def disturbed(bars: pa.Table) -> pa.Table:
    """With repeats, newer revisions, bars told twice, bars of five minutes, trades, and quotes here and there alone."""
    dice = random.Random(3)
    rows = bars.slice(0, 2_000).to_pylist()
    more, at = [], 10_000
    for row in dice.sample(rows, 900):
        at += 1
        told = dict(row, kafka_offset=at, kafka_partition=at % 2)
        more.append(
            dice.choice(
                [
                    told,
                    told | {"close": row["high"], "revision": 1},
                    told | {"event_id": f"again:{at}", "close": row["low"]},
                    told | {"event_id": f"long:{at}", "interval_seconds": 300},
                    *(
                        told
                        | dict.fromkeys(("open", "high", "low", "close"), row[price])
                        | {"event_id": f"{kind}:{at}", "kind": kind, "interval_seconds": 0}
                        | {"event_time": row["event_time"] + timedelta(seconds=dice.randrange(60))}
                        | ({"volume": None} if kind == "quote" else {})
                        for kind, price in (("trade", "high"), ("quote", "low"))
                    ),
                ]
            )
        )
    kept = [row for row in rows if dice.random() > 0.1]
    return pa.Table.from_pylist([*kept, *more], EVENT_SCHEMA)


def test_the_month_is_always_the_same_and_has_what_the_rules_are_about(bars: pa.Table) -> None:
    assert bars.equals(events(2 * 9_000, FEW))
    assert bars.schema == EVENT_SCHEMA
    assert 30 * 1_440 * len(SYMBOLS) == MONTH
    assert pc.count_distinct(bars["event_id"]).as_py() == bars.num_rows == 18_000
    one = bars.filter(pc.equal(bars["symbol"], FEW[0]))
    steps = set(np.diff(one["event_time"].cast(pa.int64()).to_numpy()) // 60_000_000)
    assert steps == {1, 1 + REST_MINUTES}
    assert one["event_time"][0].as_py() == START
    assert pc.count_distinct(bars["source"]).as_py() == 2
    assert 0 < bars["volume"].null_count < 300
    for low, high in (("low", "open"), ("low", "close"), ("open", "high"), ("close", "high")):
        assert pc.all(pc.less_equal(bars[low], bars[high])).as_py()


def test_units_become_decimals() -> None:
    assert [str(one) for one in decimals(np.array([0, 1, 12_345_678_901]), PRICE)] == [
        "0E-8",
        "1E-8",
        "123.45678901",
    ]


@pytest.mark.parametrize("trusting", [False, True])
def test_both_sides_agree_on_clean_bars(clean: Path, mine: dict[str, pa.Table], trusting: bool) -> None:
    must_agree(mine, theirs(clean, trusting=trusting), POLARS)
    minutes, fives = (pc.sum(pc.equal(mine["candles"]["interval"], name)).as_py() for name in ("1m", "5m"))
    assert minutes == 18_000 < 5 * fives
    assert set(mine["anomalies"]["severity"].to_pylist()) == {"warning", "high", "critical"}
    assert set(mine["anomalies"]["metric"].to_pylist()) == {"price", "volume"}


def test_both_sides_agree_where_events_repeat_and_mix(bars: pa.Table, tmp_path: Path) -> None:
    file = written(disturbed(bars), tmp_path)
    mine = ours(file)
    must_agree(mine, theirs(file), POLARS)
    with pytest.raises(FiguresDiffer):
        must_agree(mine, theirs(file, trusting=True), "trusting")


@pytest.mark.parametrize(
    ("table", "column", "changed"),
    [
        ("candles", "vwap", lambda column: pc.add(column, pa.scalar(Decimal("1e-12"), pa.decimal128(12, 12)))),
        ("indicators", "ema_12", lambda column: pc.multiply(column, 1 + 3e-9)),
        ("indicators", "volatility_20", lambda column: pc.fill_null(column, 0.0)),
        ("anomalies", "severity", lambda column: pc.replace_substring(column, "high", "critical")),
        ("anomalies", "metric", lambda column: pc.replace_substring(column, "price", "prices")),
    ],
)
def test_one_figure_that_differs_is_named(mine: dict[str, pa.Table], table: str, column: str, changed: Any) -> None:
    whole = mine[table]
    other = whole.set_column(whole.column_names.index(column), column, changed(whole[column]).cast(whole[column].type))
    with pytest.raises(FiguresDiffer, match=f"x: {table}.{column}|x: {table}: {column}"):
        must_agree(mine, mine | {table: other}, "x")


def test_a_row_that_is_missing_is_named(mine: dict[str, pa.Table]) -> None:
    for table in TABLES:
        with pytest.raises(FiguresDiffer, match=f"x: {table}: .* rows"):
            must_agree(mine, mine | {table: mine[table].slice(1)}, "x")


def test_growth_and_ratios_are_those_of_the_runs() -> None:
    runs = {
        OURS: {rows: [Times(rows / 100, rows / 50, rows / 100), Times(rows / 80, rows / 40, rows / 80)]
               for rows in (1_000, 10_000)},
        POLARS: {10_000: [Times(50, 100, 100), Times(25, 100, 100)]},
    }  # fmt: skip
    found = slopes(runs)
    assert set(found) == {OURS}
    assert found[OURS]["memory"]["slope"] == pytest.approx(1.0)
    assert found[OURS]["memory"]["rounds"] == [1.0, 1.0]
    assert found[OURS]["memory"]["low"] < 1.0 < found[OURS]["memory"]["high"]
    assert seconds(runs)[OURS]["1000"]["memory"] == {"median": 11.25, "low": 10.0, "high": 12.5}
    pair = ratios(runs, 10_000, [(OURS, POLARS), (OURS, "another")])
    assert set(pair) == {"ours / polars"}
    assert pair["ours / polars"]["memory"] == {"median": 3.5, "low": 2.0, "high": 5.0}


def test_a_month_is_extrapolated_from_the_rate() -> None:
    found = figures([1_440] * 6, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0], symbols=2)
    assert (found["bars"], found["seconds"], found["bars_per_second"]) == (8_640, 12.0, 720)
    assert found["month_extrapolated_seconds"] == 600.0
    assert found["day_seconds"] == [2.0, 4.0, 6.0]
    assert found["day_growth_seconds"]["slope"] == pytest.approx(2.0)
    # 2 + 4 + ... + 60
    assert found["month_extrapolated_growing_seconds"] == 930.0
    assert figures([1_440], [1.0], symbols=1)["month_extrapolated_growing_seconds"] is None


def test_bars_of_a_day_are_as_sources_give_them(bars: pa.Table) -> None:
    days = [bars_of(bars, FEW[1], START.date() + timedelta(days=number)) for number in range(7)]
    assert sum(map(len, days)) == 9_000
    held = {event_id.as_py() for event_id in bars.filter(pc.equal(bars["symbol"], FEW[1]))["event_id"]}
    assert {event.event_id for day in days for event in day} == held
    assert {event.symbol for day in days for event in day} == {FEW[1]}


def test_options_choose_sizes_and_parts() -> None:
    usual = backfill.chosen([])
    assert usual.rows == [54_000, 108_000, 216_000, 432_000, 864_000]
    assert (usual.rounds, usual.save) == (backfill.ROUNDS, False)
    some = backfill.chosen(["--rows", "1000", "--rounds", "2", "--spark", "0", "--days", "0", "--save"])
    assert (some.rows, some.rounds, some.spark, some.days, some.save) == ([1_000, MONTH], 2, 0, 0, True)


@pytest.mark.parametrize("options", [["--row", "x"], ["--rounds", "0"], ["--rows", "10"], ["--days", "-1"], ["drain"]])
def test_what_is_not_known_is_refused(options: list[str]) -> None:
    with pytest.raises(MarketDataError, match="bench backfill"):
        backfill.chosen(options)


def test_the_tables_have_times_ratios_slopes_and_aims(capsys: pytest.CaptureFixture[str]) -> None:
    runs = {side: {rows: [Times(rows / unit, rows / unit, 1.0)] * 2 for rows in (1_000, MONTH)}
            for side, unit in ((OURS, 100_000), (POLARS, 300_000))}  # fmt: skip
    start = {"imports": {"median": 2.0, "low": 1.0, "high": 3.0}, "first_call": {"median": 0.5, "low": 0.4, "high": 1}}
    show(
        {
            "aims": backfill.AIMS, "symbols": 10, "rounds": 2, "does": {OURS: "all of it"}, "load_at_start": [0.5],
            "load_at_end": [2.5], "rows": {"candles": 518_630}, "starts": {"ours": start},
            "seconds": seconds(runs), "ratios": ratios(runs, MONTH, backfill.PAIRS), "slopes": slopes(runs),
            "spark": {"start_seconds": 5.0, "first_pass_seconds": 20.0,
                      "warm_pass_seconds": {"median": 9.0, "low": 8.0, "high": 10.0}},
            "warehouse": {"days": 3, **figures([1_440] * 3, [1.0] * 3, 1)},
        },
        Console(width=160),
    )  # fmt: skip
    said = capsys.readouterr().out
    for words in (
        *("432,000", "4.32 (4.32 to 4.32)", "3.00 (3.00 to 3.00)", "at most 2.5", "0.95 to 1.05", "1.000 ("),
        *(
            "imports 2.00",
            "warm 9.00",
            "1,440 bars/s",
            "extrapolated at that rate: 300.0 s; on the line through the days: 30.0 s",
            "518,630 candles",
            "load 0.5 before",
        ),
    ):
        assert words in said
