"""The other side: candles, indicators and anomalies of contract §8 by Polars, lazily from the same Parquet.

Two sides of it. `polars` keeps all rules of our own transforms on which such events can depend: newest revisions,
repeats, bars told twice, quotes only where there is nothing else. `polars, trusting` takes each row as a bar of a
minute that came once, and so does less. Both take it that every event came by Kafka, and that the sums fit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from include.market.candle import INTERVAL_SECONDS
from include.market.tables import VOLUME, VWAP

SERIES = ("symbol", "interval")
KEY = (*SERIES, "window_start")
INDICATORS = (
    "sma_20", "ema_12", "ema_26", "bollinger_upper", "bollinger_middle", "bollinger_lower", "volatility_20",
    "log_return",
)  # fmt: skip
_FACT = ("symbol", "event_time", "interval_seconds")
_ARRIVAL = ("kafka_offset", "kafka_partition")
#: A return reaches over so many intervals; a value is held against so many before it, of which there must be some.
_MAX_INTERVALS, _BASELINE, _LEAST, _SIGMAS = 5, 60, 30, 3

Frames = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


def figures(file: Path) -> Frames:
    """Candles, indicators, anomalies of the events in a file."""
    return _collected(_counted(pl.scan_parquet(file)), _first_hand)


def figures_of_clean_bars(file: Path) -> Frames:
    """The same where each row is a bar of a minute, and each minute is there once."""
    return _collected(pl.scan_parquet(file).sort("symbol", "event_time"), lambda events, _: events)


def _collected(events: pl.LazyFrame, chosen: Callable[[pl.LazyFrame, str], pl.LazyFrame]) -> Frames:
    # What is used twice is marked, else it is computed twice: found by trying, as is the engine.
    events = events.cache()
    candles = [_candles(chosen(events, name), name, seconds) for name, seconds in INTERVAL_SECONDS.items()]
    together = pl.concat(candles).sort(KEY).cache()
    measures = _measures(together).cache()
    wanted = [together, measures.select(*KEY, *INDICATORS), _anomalies(measures)]
    first, second, third = pl.collect_all(wanted, engine="streaming")
    return first, second, third


def _counted(events: pl.LazyFrame) -> pl.LazyFrame:
    """Each id with its newest revision, of the bars of one symbol, start and length the first; in order of time."""
    newest = pl.col("revision") == pl.col("revision").max().over("symbol", "event_id")
    is_bar = pl.col("kind") == "bar"
    return (
        events.sort("symbol", "event_time", *_ARRIVAL)
        .filter(newest)
        .unique(["symbol", "event_id"], keep="first", maintain_order=True)
        .filter(~is_bar | pl.struct(*_FACT, "kind").is_first_distinct())
    )


def _first_hand(events: pl.LazyFrame, interval: str) -> pl.LazyFrame:
    """Without what is longer than the window, and without quotes where there is a bar or a trade."""
    is_quote = pl.col("kind") == "quote"
    window = ("symbol", pl.col("event_time").dt.truncate(interval))
    return events.filter(pl.col("interval_seconds") <= INTERVAL_SECONDS[interval]).filter(
        is_quote == is_quote.min().over(window)
    )


def _candles(events: pl.LazyFrame, interval: str, seconds: int) -> pl.LazyFrame:
    """By whole numbers of 1e-8, so that the volume-weighted price is exact until it is rounded, half up."""
    volume, total = _units("volume"), _units("total")
    weight = (_units("high") + _units("low") + _units("close")) * volume
    vwap = ((20_000 * pl.col("weight") + 3 * total) // (6 * total)).reinterpret(dtype=pl.Decimal(38, VWAP.scale))
    return (
        events.group_by("symbol", window_start=pl.col("event_time").dt.truncate(interval), maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("source").last(),
            total=pl.col("volume").sum(),
            known=pl.col("volume").count(),
            weight=weight.sum(),
            event_count=pl.len().cast(pl.Int32),
        )
        .select(
            *("symbol", pl.lit(interval).alias("interval"), "window_start", "open", "high", "low", "close"),
            pl.when(pl.col("known") > 0).then("total").cast(pl.Decimal(VOLUME.precision, VOLUME.scale)).alias("volume"),
            pl.when(pl.col("total") > 0).then(vwap).cast(pl.Decimal(VWAP.precision, VWAP.scale)).alias("vwap"),
            *("event_count", "source"),
        )
    )


def _measures(candles: pl.LazyFrame) -> pl.LazyFrame:
    """Indicators, and what each return and each volume is held against."""
    close, start, log_return = pl.col("close"), pl.col("window_start"), pl.col("log_return")
    lengths = {name: seconds * 1_000_000 * _MAX_INTERVALS for name, seconds in INTERVAL_SECONDS.items()}
    reach = pl.col("interval").replace_strict(lengths, return_dtype=pl.Int64)
    adjoining = (start.diff().dt.total_microseconds() <= reach) & (pl.col("source") == pl.col("source").shift())
    floats = candles.select(*KEY, "source", close.cast(pl.Float64), pl.col("volume").cast(pl.Float64).log1p())
    with_returns = floats.with_columns(log_return=pl.when(adjoining).then((close / close.shift()).log()).over(SERIES))
    volatility = log_return.rolling_std(20).over(*SERIES, log_return.is_null())
    sigma = close.rolling_std(20, ddof=0).over(SERIES)
    return with_returns.with_columns(
        sma_20=close.rolling_mean(20).over(SERIES),
        ema_12=close.ewm_mean(span=12, adjust=False).over(SERIES),
        ema_26=close.ewm_mean(span=26, adjust=False).over(SERIES),
        sigma=sigma,
        volatility_20=volatility,
        **_baseline("log_return"),
        **_baseline("volume"),
    ).with_columns(
        bollinger_upper=pl.col("sma_20") + 2 * pl.col("sigma"),
        bollinger_middle=pl.col("sma_20"),
        bollinger_lower=pl.col("sma_20") - 2 * pl.col("sigma"),
        volatility_20=pl.col("volatility_20").forward_fill().over(SERIES),
    )


def _baseline(name: str) -> dict[str, pl.Expr]:
    """Of the known values before each one: nulls are a partition of their own, so the others lie side by side."""
    value = pl.col(name)
    known = (*SERIES, value.is_null())
    return {
        f"{name}_mean": value.rolling_mean(_BASELINE, min_samples=_LEAST).shift().over(known),
        f"{name}_stddev": value.rolling_std(_BASELINE, min_samples=_LEAST).shift().over(known),
    }


def _anomalies(measures: pl.LazyFrame) -> pl.LazyFrame:
    found = []
    for metric, name in (("price", "log_return"), ("volume", "volume")):
        mean, stddev = pl.col(f"{name}_mean"), pl.col(f"{name}_stddev")
        judged = measures.select(
            *KEY, metric=pl.lit(metric), value=name, mean=mean, stddev=stddev, z_score=(pl.col(name) - mean) / stddev
        )
        found.append(judged.filter((pl.col("stddev") > 0) & (pl.col("z_score").abs() > _SIGMAS)))
    size = pl.col("z_score").abs()
    severity = pl.when(size <= 4).then(pl.lit("warning")).when(size <= 6).then(pl.lit("high"))
    return pl.concat(found).with_columns(severity=severity.otherwise(pl.lit("critical")))


def _units(name: str) -> pl.Expr:
    """A decimal column as whole numbers of its smallest digit."""
    return pl.col(name).to_physical().cast(pl.Int128)
