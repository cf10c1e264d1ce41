"""Part (a): a prefilled topic, taken by the real driver, by Quix, by our candles alone and by `spark.read`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import redis

from benchmarks.stream_parts import candles, quix
from benchmarks.stream_parts.candles import Candles, must_equal
from benchmarks.stream_parts.cpu import cpu_seconds
from benchmarks.stream_parts.followed import followed
from benchmarks.stream_parts.rates import figures, ratios
from benchmarks.stream_parts.spark import Course, drained
from benchmarks.stream_parts.stores import STOCKS, Stores, stores
from benchmarks.stream_parts.topic import Block, blocks, fill
from include.errors import MarketDataError

CANDLE_TOPIC = "bench.our.candles"
SIDES = ("driver", "quix", "candles", "batch")
#: Of the larger sizes: the pair that must hold at any size.
PAIR = ("driver", "quix")
#: Passes of `spark.read` in one session; the last is the warm one.
PASSES = 2
TIMEOUT_SECONDS = 1_200
AIMS = {"candles/quix": 8.0, "driver/batch": 0.7, "candles/batch": 0.7}
DOES = {
    "driver": "the pipeline's driver: validation, raw events, candles with exact decimals and repeats by event_id, "
    "indicators, anomalies, ledger, all in one PostgreSQL transaction a batch; prices to Redis; offsets to Kafka",
    "quix": "Quix Streams, one process: candles only, no validation, no repeats, whole numbers of 1e-4; windows in "
    "RocksDB without changelog topics, at least once, commits each 5 s; final candles to a topic",
    "candles": "the pipeline's reader, parser (with all validation) and candle transform; partials in a file, at least "
    "once; the candles of each batch to a topic. No repeats by event_id, no PostgreSQL, no Redis, no indicators",
    "batch": "spark.read of the same offsets, the same parser and candle transform (with repeats by event_id), "
    "result to Parquet; no streaming, no PostgreSQL, no Redis, no indicators",
}


@dataclass
class _Runs:
    """What has been run of one size."""

    courses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    found: dict[str, Candles] = field(default_factory=dict)


def run(counts: list[int], symbols: int, per_second: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All sides on the first size, A B C D C B A a round (without rounds A B C D); PAIR on the others, once."""
    python, missing = _quix(say)
    sides = [side for side in SIDES if side != "quix" or python is not None]
    result: dict[str, Any] = {"does": DOES, "aims": AIMS, "missing": missing, "sizes": []}
    steps = [counts[0], *(later - sooner for sooner, later in pairwise(counts))]
    with stores(say) as held:
        topic = blocks(steps, symbols, per_second)
        for number, block in enumerate(topic):
            say(f"filling the topic up to {counts[number]:,} trades")
            fill(held.servers, block)
            order = [side for side in PAIR if side in sides] if number else _order(sides, rounds)
            result["sizes"].append(_one_size(held, topic[: number + 1], order, python, say))
    return result


def _order(sides: list[str], rounds: int) -> list[str]:
    """There and back, so that what drifts meets all sides alike."""
    return [*sides, *reversed(sides[:-1])] * rounds or sides


def _one_size(
    held: Stores, topic: list[Block], order: list[str], python: Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    records = sum(block.records for block in topic)
    # The last tail's windows are nobody's business: no record comes behind it to close them.
    before_us = topic[-1].end_us + 60_000_000
    runs = _Runs()
    for number, side in enumerate(order):
        say(f"{records:,} records, run {number + 1} of {len(order)}: {side}")
        broker = {"kafka": held.pids["kafka"]}
        before = cpu_seconds(broker)["kafka"]
        course, found = _RUN[side](held, records, before_us, python)
        spent = cpu_seconds(broker)["kafka"] - before
        runs.found[f"{side} {number + 1}"] = found
        must_equal({order[0]: runs.found[f"{order[0]} 1"], side: found})
        done = figures(course) | {"broker_cpu_seconds": round(spent, 2)}
        runs.courses.setdefault(side, []).append(done)
    pairs = [("driver", "quix"), ("candles", "quix"), ("driver", "batch"), ("candles", "batch")]
    return {
        "records": records,
        "symbols": topic[0].symbols,
        "order": order,
        "candles": must_equal(runs.found),
        "runs": runs.courses,
        "ratios": {
            f"{ours}/{reference}": ratios(runs.courses[ours], runs.courses[reference])
            for ours, reference in pairs
            if {ours, reference} <= runs.courses.keys()
        },
    }


def _driver(held: Stores, records: int, before_us: int, _python: Path | None) -> tuple[Course, Candles]:
    held.empty()
    held.checkpoint()
    course = drained(held, records, TIMEOUT_SECONDS)
    _must_hold_all(held, records)
    return course, candles.stored(held, before_us)


def _must_hold_all(held: Stores, records: int) -> None:
    """Each record once in PostgreSQL, each symbol's price in Redis, each candle with indicators."""
    with held.connect() as connection, redis.Redis.from_url(held.redis_url) as client:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM market_events), (SELECT count(DISTINCT symbol) FROM candles), "
            "(SELECT count(*) FROM candles), (SELECT count(*) FROM indicators)"
        ).fetchone()
        prices = sum(1 for _ in client.scan_iter("price:*", count=1_000))
    if counts is None or counts[0] != records or counts[1] != prices or counts[2] != counts[3]:
        raise MarketDataError(f"the driver left {counts} (events, symbols, candles, indicators), {prices} prices")


def _by_quix(held: Stores, records: int, before_us: int, python: Path | None) -> tuple[Course, Candles]:
    assert python is not None  # else it is not among the sides
    course = quix.drained(held, python, STOCKS, records, TIMEOUT_SECONDS)
    return course, candles.from_topic(held.servers, quix.OUT_TOPIC, before_us)


def _candles(held: Stores, _records: int, before_us: int, _python: Path | None) -> tuple[Course, Candles]:
    held.new_topic(CANDLE_TOPIC)
    arguments = [CANDLE_TOPIC, "FOLDER"]
    course, _ = followed(held, "candle_stream.py", arguments, TIMEOUT_SECONDS, lambda folder: None)
    return course, candles.from_topic(held.servers, CANDLE_TOPIC, before_us)


def _batch(held: Stores, _records: int, before_us: int, _python: Path | None) -> tuple[Course, Candles]:
    def read(folder: Path) -> Candles:
        return candles.from_table(pq.read_table(folder / "candles"), before_us)

    return followed(held, "candle_batch.py", ["FOLDER", str(PASSES)], TIMEOUT_SECONDS, read)


_RUN = {"driver": _driver, "quix": _by_quix, "candles": _candles, "batch": _batch}


def _quix(say: Callable[[str], None]) -> tuple[Path | None, list[str]]:
    try:
        say("Quix Streams' own environment")
        return quix.environment(), []
    except quix.NoQuix as reason:
        say(str(reason))
        return None, [str(reason)]
