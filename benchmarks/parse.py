"""How fast each source's bodies become events: recorded bodies, read again and again."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from include.market.event import Source
from include.settings import PROJECT_ROOT, load_settings
from include.sources.base import MINUTE_BARS, QUOTES, Answer, Question, Want
from include.sources.catalogue import catalogue
from include.sources.registry import build_source

#: Of CPU, for each body.
SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Body:
    source: Source
    file: str
    want: Want
    symbol: str


BODIES = (
    Body("yahoo", "chart_AAPL_1m_20241002.json", MINUTE_BARS, "AAPL"),
    Body("alpha_vantage", "intraday_MSFT_1min_compact.json", MINUTE_BARS, "MSFT"),
    Body("binance", "klines_BTCUSDT_1m_20200506.json", MINUTE_BARS, "BTC-USD"),
)


@dataclass(frozen=True, slots=True)
class ParseRate:
    source: str
    file: str
    rows: int
    rows_per_second: float
    megabytes_per_second: float


def recorded_bodies() -> Path | None:
    """The folder of recorded answers, beside the project or where SHARED_DATA_DIR says; None if it is not there."""
    shared = Path(os.environ.get("SHARED_DATA_DIR", PROJECT_ROOT.parent / "shared" / "data"))
    return shared / "responses" if (shared / "responses").is_dir() else None


def parse_rates(folder: Path) -> list[ParseRate]:
    recorded = [
        _rate(body.source, body.file, (folder / body.source / body.file).read_bytes(), body.want, body.symbol)
        for body in BODIES
    ]
    return [*recorded, _coingecko()]


def _coingecko() -> ParseRate:
    """The body that we ask for was recorded without its times, so this one is made in its shape."""
    coins = [instrument for instrument in catalogue() if "coingecko" in instrument.ids]
    now = int(time.time())
    prices = {
        instrument.ids["coingecko"]: {"usd": 49_253.25 + number, "last_updated_at": now - number}
        for number, instrument in enumerate(coins)
    }
    symbols = [instrument.symbol for instrument in coins]
    return _rate("coingecko", "simple/price (made)", msgspec.json.encode(prices), QUOTES, *symbols)


def _rate(source_name: Source, file: str, raw: bytes, want: Want, *symbols: str) -> ParseRate:
    source = build_source(source_name, load_settings(with_stack=False))
    question = Question(want, tuple(catalogue().get(symbol) for symbol in symbols), path="", params={})
    answer = Answer(200, {}, raw)
    now_us = time.time_ns() // 1_000
    rows = len(source.read(question, answer, now_us).events)
    count = 0
    began = time.process_time()
    while (spent := time.process_time() - began) < SECONDS:
        source.read(question, answer, now_us)
        count += 1
    per_second = count / spent
    return ParseRate(source_name, file, rows, round(rows * per_second), round(len(raw) * per_second / 1e6, 1))
