"""The trade stream on a real websocket server that breaks off, falls silent, repeats and shuts down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from include.errors import LeaseLost
from include.market.coverage import MINUTE_US, RESERVED_US
from tests.unit.producers.venue import QUICK, Running, running


def test_trades_are_published_from_the_next_minute_on_and_their_minutes_claimed() -> None:
    async def act(work: Running) -> None:
        (row,) = work.store.rows.values()
        first = next(trade for trade in work.venue.trades if trade["a"] == work.ids[0])
        assert _minute(first["T"] * 1_000) == row.covered_from
        await work.until(lambda: _covered(work) >= 1, "a covered minute")
        details = work.lease.beats[-1]
        assert (details["state"], details["source"], details["symbols"], details["behind"]) == (
            "streaming",
            "binance",
            1,
            [],
        )
        # The answer to the library's ping of the server.
        await asyncio.wait_for(await work.venue.connections[0].ping(), 2)

    play(act)


def test_a_connection_that_breaks_is_replaced_and_its_hole_is_filled_by_id() -> None:
    async def act(work: Running) -> None:
        for _ in range(3):
            accepted = work.venue.accepted
            newest = len(work.venue.trades)
            work.venue.connections[0].transport.abort()
            # Traded while nobody listens: however fast the new connection is there, this one it does not bring.
            work.venue.make()
            await work.until(lambda held=accepted: work.venue.accepted > held, "another connection")
            await work.until(lambda held=newest: work.ids[-1] > held + 5, "newer trades")
        assert any("fromId" in asked for asked in work.venue.asked)
        assert work.ids == list(range(work.ids[0], work.ids[-1] + 1))

    play(act)


def test_rest_takes_over_from_a_socket_that_is_open_and_silent() -> None:
    async def act(work: Running) -> None:
        work.venue.is_mute = True
        newest, began = len(work.venue.trades), time.monotonic()
        await work.until(lambda: work.ids[-1] > newest + 1, "trades by REST")
        assert time.monotonic() - began < 3 * QUICK.silence_seconds
        assert work.stream.details()["state"] == "polling"
        await work.until(lambda: work.venue.accepted > 1, "another connection")
        work.venue.is_mute = False
        await work.until(lambda: work.stream.details()["state"] == "streaming", "streaming again")
        assert work.ids == list(range(work.ids[0], work.ids[-1] + 1))
        assert work.prices.polls == 0

    play(act)


def test_a_quiet_market_is_no_mute_socket_and_its_minutes_are_complete() -> None:
    async def act(work: Running) -> None:
        work.venue.is_trading = False
        covered = _covered(work)
        await work.until(lambda: _covered(work) >= covered + 2, "minutes without a trade", seconds=12)
        assert work.venue.accepted == 1
        assert work.prices.polls == 0

    play(act)


def test_prices_come_from_elsewhere_while_neither_socket_nor_rest_answers() -> None:
    async def act(work: Running) -> None:
        work.venue.is_mute, work.venue.is_reachable = True, False
        await work.until(lambda: work.prices.polls > 1, "another source's prices")
        assert work.stream.details()["state"] == "fallback"
        work.venue.is_mute, work.venue.is_reachable = False, True
        await work.until(lambda: work.prices.restorations == 1, "the switch back")
        newest = len(work.venue.trades)
        await work.until(lambda: work.ids[-1] > newest, "trades again")
        assert work.ids == list(range(work.ids[0], work.ids[-1] + 1))

    play(act)


def test_rotation_opens_the_new_connection_before_it_closes_the_old() -> None:
    async def act(work: Running) -> None:
        await work.until(lambda: work.venue.accepted >= 4, "four connections")
        assert (work.venue.at_once, work.venue.left_alone) == (2, 0)
        # No hole was made: only the first trade and proofs of quiet minutes were asked for.
        assert work.ids == list(range(work.ids[0], work.ids[-1] + 1))
        assert [asked for asked in work.venue.asked if asked["limit"] not in {"1", "1000"}] == []

    play(act, rotation_seconds=0.3)


def test_the_servers_announcement_of_its_shutdown_opens_another_connection() -> None:
    async def act(work: Running) -> None:
        await work.venue.send({"e": "serverShutdown", "E": 1})
        await work.until(lambda: work.venue.accepted == 2, "another connection")
        assert work.venue.at_once == 2

    play(act)


def test_a_trade_that_is_not_valid_goes_to_the_dead_letters_and_is_no_hole() -> None:
    async def act(work: Running) -> None:
        work.venue.make(p="0.0")
        await work.venue.send({"e": "aggTrade", "E": 1, "s": "BTCUSDT", **work.venue.trades[-1]})
        work.venue.make(T=work.venue.clock() // 1_000_000)
        newest = len(work.venue.trades)
        await work.until(lambda: work.ids[-1] > newest, "trades after it")
        assert {newest, newest - 1} & set(work.ids) == set()
        reasons = {letter["reason"] for letter in work.publisher.dead_letters}
        assert any("not above zero" in reason for reason in reasons)
        assert any("1990" in reason for reason in reasons)

    async def quietly(work: Running) -> None:
        """The refused trades are of no covered minute's candle."""
        await act(work)
        await work.finish()
        work.venue.trades = [trade for trade in work.venue.trades if trade["a"] in set(work.ids)]

    play(quietly)


def test_a_stop_publishes_and_stores_what_is_in_order() -> None:
    async def act(work: Running) -> None:
        await work.finish()
        newest = max(work.store.rows.values(), key=lambda row: row.covered_from)
        assert newest.last_trade_id == work.ids[-1]
        assert newest.is_open

    play(act)


def test_a_killed_stream_goes_on_from_the_last_stored_trade() -> None:
    async def act(work: Running) -> None:
        await work.kill()
        newest = len(work.venue.trades)
        await work.until(lambda: len(work.venue.trades) > newest + 10, "trades that are missed")
        work.start()
        await work.until(lambda: work.ids[-1] > newest + 20, "newer trades")
        assert len(work.store.rows) == 1
        assert sorted(set(work.ids)) == list(range(work.ids[0], work.ids[-1] + 1))
        # What was published and not yet stored comes once more, under the same id.
        work.publisher.events = list({event.event_id: event for event in work.publisher.events}.values())

    play(act)


def test_a_stream_that_comes_back_late_completes_what_bars_kept_out_of_and_begins_anew() -> None:
    async def act(work: Running) -> None:
        await work.kill()
        (before,) = work.store.rows.values()
        work.venue.clock.skip(RESERVED_US + 2 * MINUTE_US)
        work.start()
        await work.until(lambda: len(work.store.rows) == 2, "another coverage")
        ended, begun = work.store.rows.values()
        assert (ended.covered_through, ended.is_open) == (before.reserved_through, False)
        assert begun.covered_from > ended.covered_through
        await work.until(lambda: begun.covered_from in {_minute(e.event_time) for e in work.publisher.events}, "trades")
        work.publisher.events = list({event.event_id: event for event in work.publisher.events}.values())

    play(act)


def test_a_stream_that_is_switched_off_completes_by_rest_what_was_begun() -> None:
    async def act(work: Running) -> None:
        await work.finish()
        connections = work.venue.accepted
        work.venue.clock.skip(RESERVED_US + MINUTE_US)
        work.start()
        await work.kill()
        await asyncio.wait_for(work.stream.finish(asyncio.Event()), 5)
        assert [row.is_open for row in work.store.rows.values()] == [False]
        assert work.venue.accepted <= connections + 1
        work.publisher.events = list({event.event_id: event for event in work.publisher.events}.values())

    play(act)


def test_nothing_is_published_once_the_lease_is_anothers() -> None:
    async def act(work: Running) -> None:
        work.lease.is_ours = False
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(work.task, 5)

    play(act)


def test_a_process_that_was_frozen_asks_for_its_lease_before_it_publishes() -> None:
    frozen = 0.0

    async def act(work: Running) -> None:
        nonlocal frozen
        work.lease.is_ours = False
        frozen = 3_600.0
        published = len(work.ids)
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(work.task, 5)
        assert len(work.ids) == published

    # The loop that sends heartbeats sleeps: the write itself must ask.
    play(act, heartbeat_seconds=60.0, stuck_seconds=10_000.0, monotonic=lambda: time.monotonic() + frozen)


def _covered(work: Running) -> int:
    """Whole minutes."""
    return sum(row.covered_through - row.covered_from for row in work.store.rows.values()) // MINUTE_US


def _minute(time_us: int) -> int:
    return time_us // MINUTE_US * MINUTE_US


def play(
    act: Callable[[Running], Awaitable[None]],
    monotonic: Callable[[], float] = time.monotonic,
    **rules: float,
) -> None:
    async def whole() -> None:
        async with running(replace(QUICK, **rules), monotonic) as work:
            await act(work)

    asyncio.run(whole())
