"""Binance's trades, from its websocket and, for what that missed, from its REST by id. Pure.

Aggregate trades (what one order took at one price at one moment), because they are the only ones that the
keyless host of market data (data-api.binance.vision) serves by id: it has `trades` (the last 1,000) and
`aggTrades`, but not `historicalTrades`. Their ids have no gaps either, open, high, low, close and volume
of a minute come out the same, and a page of them costs 4 and not 25.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://github.com/binance/binance-spot-api-docs/blob/master/faqs/market_data_only.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from include.errors import BadPayload
from include.market.event import MarketEvent, trade
from include.market.instrument import Instrument
from include.sources.base import TRADES, Answer, FetchResult, Question, Rejected, source_id
from include.sources.binance import quote_asset
from include.sources.http import epoch_us, exact
from include.sources.strict import decode

PATH = "/api/v3/aggTrades"
PAGE_ROWS = 1000
PAGE_COST = 4
#: More than a trade ever needs: what is larger is no frame of this stream.
MAX_FRAME_BYTES = 64 * 1024
_KEPT_BYTES = 4_096

Control = Literal["", "acknowledged", "shutdown", "ignored"]


class _Trade(msgspec.Struct, frozen=True):
    """A row of REST and, with `s`, the stream's event."""

    a: int
    p: str
    q: str
    T: int
    s: str = ""


class _Numbered(msgspec.Struct, frozen=True):
    a: int


class _Head(msgspec.Struct, frozen=True):
    """What tells the messages apart. `stream` and `data` where a combined stream wraps them."""

    e: str = ""
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET


_trade = msgspec.json.Decoder(_Trade)
_numbered = msgspec.json.Decoder(_Numbered)
_head = msgspec.json.Decoder(_Head)
_rows = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Frame:
    """One websocket message: a trade, a refused one, or (`control`) something that is no trade."""

    events: list[MarketEvent] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    control: Control = ""


def stream_url(base_url: str, instruments: Sequence[Instrument]) -> str:
    """One combined stream for all. Raises SymbolUnknown for an instrument without an id here."""
    names = "/".join(f"{source_id(instrument, 'binance').lower()}@aggTrade" for instrument in instruments)
    return f"{base_url.rstrip('/')}/stream?streams={names}"


def trades_question(instrument: Instrument, from_id: int, limit: int = PAGE_ROWS) -> Question:
    """The `limit` trades from this id on, oldest first; a whole page has `more`."""
    return _question(instrument, {"fromId": str(from_id), "limit": str(limit)})


def newest_question(instrument: Instrument) -> Question:
    """The newest trade alone."""
    return _question(instrument, {"limit": "1"})


def read_trades(question: Question, answer: Answer, now_us: int) -> FetchResult:
    """A page of trades to events. A row that is not as documented is rejected alone.

    Raises BadPayload for a body that is no list, or a list in which not even an id can be read.
    """
    instrument = question.instruments[0]
    try:
        rows = decode(answer.body, _rows)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadPayload(f"binance: not a list of trades: {error}", answer.body) from error
    result = FetchResult()
    for raw in rows:
        try:
            result.events.append(_event(_trade.decode(raw), instrument, now_us))
        except (msgspec.MsgspecError, ValueError) as error:
            result.rejected.append(
                Rejected(b"[%b]" % bytes(raw), f"trade: {error}", "binance", instrument.symbol, TRADES.name)
            )
    ids = [*(trade_id(event) for event in result.events), *filter(None, map(rejected_id, result.rejected))]
    if rows and not ids:
        raise BadPayload("binance: trades without an id", answer.body)
    if len(rows) >= PAGE_ROWS and "fromId" in question.params:
        result.more = replace(question, params={**question.params, "fromId": str(max(ids) + 1)})
    return result


def read_frame(raw: str | bytes, by_id: Mapping[str, Instrument], now_us: int) -> Frame:
    """One websocket message, wrapped (`stream`, `data`) or bare; `by_id` has the instruments by pair."""
    body = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if len(body) > MAX_FRAME_BYTES:
        return _refused(body, f"a frame of {len(body)} bytes")
    try:
        head = decode(body, _head)
        if head.stream:
            body = bytes(head.data)
            head = _head.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        return _refused(body, str(error))
    if head.e == "aggTrade":
        return _trade_frame(body, by_id, now_us)
    if head.e == "serverShutdown":
        return Frame(control="shutdown")
    return Frame(control="acknowledged" if head.id is not msgspec.UNSET and not head.e else "ignored")


def trade_id(event: MarketEvent) -> int:
    """The venue's id of a trade of ours."""
    return int(event.event_id.rpartition(":")[2])


def rejected_id(rejected: Rejected) -> int | None:
    """The venue's id of a trade that was refused, where it can be read: it is not missing then."""
    try:
        found = _numbered.decode(rejected.raw.strip(b"[]")).a
    except (msgspec.MsgspecError, ValueError):
        return None
    return found if found > 0 else None


def _question(instrument: Instrument, params: Mapping[str, str]) -> Question:
    pair = source_id(instrument, "binance")
    return Question(TRADES, (instrument,), PATH, {"symbol": pair, **params}, cost=PAGE_COST)


def _trade_frame(body: bytes, by_id: Mapping[str, Instrument], now_us: int) -> Frame:
    instrument: Instrument | None = None
    try:
        row = _trade.decode(body)
        instrument = by_id.get(row.s)
        if instrument is None:
            return Frame(control="ignored")
        return Frame(events=[_event(row, instrument, now_us)])
    except (msgspec.MsgspecError, ValueError) as error:
        return _refused(body, str(error), instrument.symbol if instrument else "")


def _event(row: _Trade, instrument: Instrument, now_us: int) -> MarketEvent:
    """Raises ValueError for what no trade has."""
    if row.a < 0:
        raise ValueError(f"id {row.a} is negative")
    return trade(
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        source="binance",
        trade_id=row.a,
        time=epoch_us(row.T, "ms", "us"),
        price=exact(row.p),
        volume=exact(row.q),
        currency=quote_asset(source_id(instrument, "binance")),
        ingested_at=now_us,
    )


def _refused(body: bytes, reason: str, symbol: str = "") -> Frame:
    # As a page of one: what is in the dead letters can be read again.
    raw = b"[%b]" % body[:_KEPT_BYTES]
    return Frame(rejected=[Rejected(raw, f"stream: {reason}", "binance", symbol, TRADES.name)])
