"""Trades from the websocket to Kafka, whole: what it misses comes from REST by id, and each id goes out once.

Three loops over one `TradeSequence` a symbol: the socket offers frames, `_tend` asks REST for holes, for the
proof of quiet minutes and, while the socket is silent, for everything; `_write` publishes what is in order and
stores what that covers. What blocks (REST, Kafka, PostgreSQL) runs in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

import structlog

from include.errors import BadPayload, LeaseLost, MarketDataError, SourceError, SymbolUnknown
from include.market.coverage import Coverage
from include.market.event import MICROSECONDS, MarketEvent
from include.market.instrument import Instrument
from include.producers.trade_coverage import Missing, TradeSequence
from include.producers.trade_intake import TradeIntake
from include.producers.trade_parts import StreamParts, StreamRules
from include.producers.trade_socket import TradeSocket
from include.sources.base import TRADES, Question, Rejected
from include.sources.binance_trades import newest_question, read_frame, stream_url, trades_question
from include.storage.lease import STALE_AFTER_SECONDS

log = structlog.get_logger(__name__)


class TradeStream:
    """The trades of some instruments; `run` until told to stop."""

    def __init__(
        self, instruments: Sequence[Instrument], base_url: str, parts: StreamParts, rules: StreamRules
    ) -> None:
        self._parts = parts
        self._rules = rules
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._by_pair = {instrument.ids["binance"]: instrument for instrument in instruments}
        url = stream_url(base_url, instruments)
        self.socket = TradeSocket(url, self._on_frame, parts.connect, rules.rotation_seconds)
        held, now_us = parts.store.newest(), parts.clock()
        self._sequences = {s: TradeSequence(s, held.get(s), now_us) for s in self._instruments}
        self._intake = TradeIntake(parts.clock)
        self._prices: list[MarketEvent] = []
        self._offered = 0
        now = parts.monotonic()
        #: When (monotonic) the socket brought a trade, prices were to be had, a write and a heartbeat were done.
        self._heard = self._well = self._written = self._beaten = now
        #: When REST was asked for all, when another source was asked, when REST may be asked for a symbol.
        self._polled = self._replaced = now - 3_600
        self._again = dict.fromkeys(self._sequences, now)
        #: When (monotonic) a trade of the symbol came, or REST was asked because none did.
        self._heard_of = dict.fromkeys(self._sequences, now)
        self._is_replaced = parts.fallback.is_serving
        self._replaced = now if self._is_replaced else self._replaced
        self._wake = asyncio.Event()
        self._full = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then what is in order is published and stored. Raises LeaseLost, PublishError,
        psycopg.Error: what was not stored comes again with the next start."""
        await self._together(stop, self.socket.run(), self._tend(), self._beat())

    async def finish(self, stop: asyncio.Event) -> None:
        """Completes by REST what an earlier stream has begun, and ends it: from there on minutes are bars'."""
        for sequence in self._sequences.values():
            sequence.end()
        await self._together(stop, self._complete(stop), self._beat())

    async def _together(self, stop: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(loop) for loop in loops]
                writing = group.create_task(self._write(stop))
                await stop.wait()
                for loop in running:
                    loop.cancel()
                await writing
        except BaseExceptionGroup as failures:
            lost: BaseException = failures.subgroup(LeaseLost) or failures
            while isinstance(lost, BaseExceptionGroup):
                lost = lost.exceptions[0]
            raise lost from failures

    async def _complete(self, stop: asyncio.Event) -> None:
        while ending := [sequence for sequence in self._sequences.values() if sequence.is_ending]:
            for sequence in ending:
                if self._parts.monotonic() >= self._again[sequence.symbol]:
                    await self._ask(sequence, sequence.latest())
            await asyncio.sleep(self._rules.flush_seconds)
        stop.set()

    def details(self) -> dict[str, Any]:
        """How the stream fares, for people."""
        newest_us = self._intake.newest_us
        age = (self._parts.clock() - newest_us) / MICROSECONDS if newest_us else None
        return {
            "state": "fallback" if self._is_replaced else "polling" if self._is_silent() else "streaming",
            "source": "binance",
            "symbols": len(self._sequences),
            "behind": sorted(s.symbol for s in self._sequences.values() if s.is_behind),
            "last_trade_age": None if age is None else round(age, 1),
            "connections": self.socket.opened,
        }

    def _on_frame(self, raw: str | bytes) -> None:
        frame = read_frame(raw, self._by_pair, self._parts.clock())
        if frame.control == "shutdown":
            self.socket.replace("the server shuts down")
        if frame.events:
            self._heard = self._parts.monotonic()
        self._intake.refuse(frame.rejected)
        for event in frame.events:
            sequence = self._sequences[event.symbol]
            self._heard_of[event.symbol] = self._heard
            for number, judged in self._intake.numbered([event], ()).items():
                self._offered += sequence.offer(number, judged, self._parts.clock())
            if sequence.is_behind:
                self._wake.set()
            else:
                self._well = self._heard
        if self._offered >= self._rules.flush_events:
            self._full.set()

    def _is_silent(self) -> bool:
        return self._parts.monotonic() - self._heard > self._rules.silence_seconds

    async def _tend(self) -> None:
        while True:
            await _either(self._wake, self._rules.tick_seconds)
            now = self._parts.monotonic()
            poll = self._is_silent() and now - self._polled > self._rules.poll_seconds
            if poll:
                self._polled = now
            await self._ask_all(poll)
            await self._keep_priced()

    async def _ask_all(self, poll: bool) -> None:
        missed = 0
        for symbol, sequence in self._sequences.items():
            mute = self._parts.monotonic() - self._heard_of[symbol] > self._rules.silence_seconds
            if mute:
                # Also beside symbols that are not: a stream can fail alone.
                self._heard_of[symbol] = self._parts.monotonic()
            missing = sequence.missing(self._parts.clock()) or (sequence.latest() if poll or mute else None)
            if missing is not None and self._parts.monotonic() >= self._again[symbol]:
                fresh = await self._ask(sequence, missing)
                missed += fresh if poll or mute else 0
        if missed:
            # Silent because nothing was traded is one thing; these trades it should have brought.
            self.socket.replace(f"silent, and {missed} trades behind")

    async def _ask(self, sequence: TradeSequence, missing: Missing) -> int:
        """How many new trades REST brought. Where it brought none, it is not asked again at once."""
        symbol, asked_at_us, fresh = sequence.symbol, self._parts.clock(), 0
        pausing: Iterable[str] = [symbol]
        try:
            result = await asyncio.to_thread(self._parts.client.fetch, self._question(symbol, missing))
        except SourceError as error:
            if not isinstance(error, BadPayload | SymbolUnknown):
                # The other symbols would meet the same.
                pausing = self._sequences
            if isinstance(error, BadPayload):
                self._intake.refuse([Rejected(error.payload, str(error), "binance", symbol, TRADES.name)])
            log.warning("trades.unanswered", symbol=symbol, error=type(error).__name__, reason=str(error))
        else:
            self._well = self._parts.monotonic()
            fresh = sequence.answered(missing, self._intake.numbered(result.events, result.rejected), asked_at_us)
        if not fresh:
            self._again |= dict.fromkeys(pausing, self._parts.monotonic() + self._rules.pause_seconds)
        return fresh

    def _question(self, symbol: str, missing: Missing) -> Question:
        instrument = self._instruments[symbol]
        if missing.from_id is None:
            return newest_question(instrument)
        return trades_question(instrument, missing.from_id, missing.count)

    async def _keep_priced(self) -> None:
        """While neither the socket nor REST gives trades, prices come from elsewhere."""
        now, rules = self._parts.monotonic(), self._rules
        lacking = now - self._well
        if lacking <= rules.silence_seconds:
            if self._is_replaced and now - self._replaced > rules.steady_seconds:
                self._is_replaced = False
                await asyncio.to_thread(self._parts.fallback.restored, self._parts.clock())
        elif now - self._replaced > rules.fallback_seconds:
            self._is_replaced, self._replaced = True, now
            try:
                reason = f"no trade and no answer for {lacking:.0f} s"
                prices = await asyncio.to_thread(self._parts.fallback.poll, self._parts.clock(), reason)
                self._intake.refuse(prices.rejected)
                self._prices += self._intake.valid(prices.events)
            except SourceError as error:
                log.warning("prices.unanswered", error=type(error).__name__, reason=str(error))

    async def _write(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await _either(self._full, self._rules.flush_seconds)
            await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        now_us = self._parts.clock()
        self._offered = 0
        events = [event for sequence in self._sequences.values() for event in sequence.take(now_us)]
        events, self._prices = events + self._prices, []
        refused = self._intake.take_refused()
        held = [(sequence, sequence.unsaved()) for sequence in self._sequences.values()]
        coverages = [coverage for _, unsaved in held for coverage in unsaved]
        if events or refused or coverages:
            await asyncio.to_thread(self._deliver, events, refused, coverages, now_us)
        for sequence, unsaved in held:
            sequence.saved(unsaved)
        self._written = self._parts.monotonic()

    def _deliver(
        self, events: list[MarketEvent], refused: list[Rejected], coverages: list[Coverage], now_us: int
    ) -> None:
        """First the trades are made safe, then what they cover is stored."""
        self._keep_lease()
        for event in events:
            self._parts.publisher.publish(event)
        for rejected in refused:
            self._parts.publisher.dead_letter(rejected, now_us)
        self._parts.publisher.confirm()
        self._parts.store.save(coverages)

    def _keep_lease(self) -> None:
        """A process that was frozen may find that another one publishes now."""
        if self._parts.monotonic() - self._beaten > STALE_AFTER_SECONDS / 2:
            self._heartbeat()

    def _heartbeat(self) -> None:
        began = self._parts.monotonic()
        if not self._parts.lease.heartbeat(self.details()):
            raise LeaseLost("another trade stream has the lease")
        self._beaten = began

    async def _beat(self) -> None:
        while True:
            if self._parts.monotonic() - self._written > self._rules.stuck_seconds:
                raise MarketDataError(f"no batch was written for {self._rules.stuck_seconds:.0f} s")
            await asyncio.to_thread(self._heartbeat)
            await asyncio.sleep(self._rules.heartbeat_seconds)


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Until the event, or the time is over; the event is taken back."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    event.clear()
