"""The trades of a symbol by time and by id. Ids are contiguous and a pure function of symbol and minute."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from include.sandbox.bars import MINUTE, Bars, milliseconds, scaled
from include.sandbox.market import Sandbox
from include.sandbox.minute_trades import LAST_TRADE_MS, minute_trades, traded_by


class TapeTrade(NamedTuple):
    """One trade; `time_ms` in UTC epoch milliseconds, `quantity` in shares or base currency."""

    id: int
    time_ms: int
    price: Decimal
    quantity: Decimal

    @property
    def buyer_is_maker(self) -> bool:
        """Every other trade is a sale into a bid."""
        return bool(self.id % 2)


def between(sandbox: Sandbox, symbol: str, after_ms: int, upto_ms: int) -> list[TapeTrade]:
    """The trades with after_ms < time <= upto_ms, oldest first."""
    start = max(after_ms // 1000 // MINUTE * MINUTE, sandbox.history_start())
    bars = sandbox.market.minutes(symbol, start, max(start, upto_ms // 1000 + 1))
    return [trade for trade in _trades(sandbox, symbol, bars) if after_ms < trade.time_ms <= upto_ms]


def from_id(sandbox: Sandbox, symbol: str, first_id: int, limit: int, now: float) -> list[TapeTrade]:
    """At most `limit` trades from this id on, oldest first, as far as they are made by `now`."""
    known, count = id_range(sandbox, symbol, sandbox.history_start(), int(now) + 1, now)
    first = max(first_id, known)
    last = min(first + limit, known + count) - 1
    if first > last:
        return []
    per_minute = sandbox.trades_per_minute
    start = sandbox.market.minute_at(symbol, first // per_minute)
    end = sandbox.market.minute_at(symbol, last // per_minute) + MINUTE
    found = _trades(sandbox, symbol, sandbox.market.minutes(symbol, start, end))
    return [trade for trade in found if first <= trade.id <= last]


def newest(sandbox: Sandbox, symbol: str, limit: int, now: float) -> list[TapeTrade]:
    """The last `limit` trades made by `now`, oldest first."""
    first, count = id_range(sandbox, symbol, sandbox.history_start(), int(now) + 1, now)
    return from_id(sandbox, symbol, first + count - limit, limit, now)


def id_range(sandbox: Sandbox, symbol: str, start: int, end: int, now: float) -> tuple[int, int]:
    """(first id, number of trades) of the minutes that start in [start, end), made by `now`; epoch seconds."""
    market, per_minute = sandbox.market, sandbox.trades_per_minute
    end = min(end, int(now) + 1)
    first, after = market.ordinal(symbol, start), market.ordinal(symbol, max(start, end))
    count = (after - first) * per_minute
    last = market.minute_at(symbol, after - 1) if count else 0
    if milliseconds(now) < last * 1000 + LAST_TRADE_MS:
        bar = market.minutes(symbol, last, last + MINUTE).units(0)
        count -= per_minute - len(traded_by(bar, milliseconds(now) - last * 1000, per_minute))
    return first * per_minute, count


def trade_count(sandbox: Sandbox, symbol: str, start: int, seconds: int, now: float) -> int:
    """How many trades a candle has, by now."""
    return id_range(sandbox, symbol, start, start + seconds, now)[1]


def _trades(sandbox: Sandbox, symbol: str, bars: Bars) -> Iterator[TapeTrade]:
    if not len(bars):
        return
    per_minute = sandbox.trades_per_minute
    id_ = sandbox.market.ordinal(symbol, int(bars.start[0])) * per_minute
    for row in range(len(bars)):
        bar = bars.units(row)
        for trade in minute_trades(bar, per_minute):
            quantity = scaled(trade.volume, bars.volume_decimals)
            yield TapeTrade(id_, bar.start * 1000 + trade.offset_ms, bars.price(trade.price), quantity)
            id_ += 1
