"""The lease on the real server: one owner, a new epoch each time, and a fence that holds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from include.errors import LeaseLost
from include.storage.lease import APPLICATION, Lease, LeaseHeld, application_name, read_stream_state
from include.storage.stream_store import StreamStore
from include.storage.supervision import SupervisionStore
from tests.stores import Services
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _no_lease(services: Services) -> Iterator[None]:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        for table in ("stream_lease", "stream_fence", "stream_starts"):
            connection.execute(f"DELETE FROM {table}")
        yield
        for table in ("stream_lease", "stream_fence", "stream_starts"):
            connection.execute(f"DELETE FROM {table}")


def test_a_second_owner_is_refused_while_the_first_is_alive(services: Services) -> None:
    first, second = Lease(services.writer_database_url), Lease(services.writer_database_url)
    assert first.acquire("a", 1) == 1
    with pytest.raises(LeaseHeld):
        second.acquire("b", 2)
    assert first.heartbeat({"queries": {"q": {"lag": 3}}})
    state = read_stream_state(services.reader_database_url)
    assert state is not None
    assert (state.owner, state.epoch, state.is_alive, state.lag) == ("a", 1, True, 3)


def test_a_stale_owner_is_replaced_and_can_write_nothing_more(services: Services) -> None:
    frozen, successor = Lease(services.writer_database_url), Lease(services.writer_database_url)
    old_epoch = frozen.acquire("frozen", 1)
    assert successor.acquire("successor", 2, stale_after_seconds=0) == old_epoch + 1
    with pytest.raises(psycopg.OperationalError):
        frozen.heartbeat({})
    store = StreamStore(services.writer_database_url, old_epoch)
    with pytest.raises(LeaseLost), store.batch("events_stock", "checkpoint", 0):
        pass


def test_a_released_lease_is_free_and_tells_the_last_error(services: Services) -> None:
    lease = Lease(services.writer_database_url)
    lease.acquire("a", 1)
    lease.release(last_error="the reason")
    state = read_stream_state(services.reader_database_url, APPLICATION)
    assert state is not None
    assert not state.is_alive
    assert state.last_error == "the reason"
    assert Lease(services.writer_database_url).acquire("b", 2) == 2


@pytest.fixture
def store(services: Services) -> Iterator[SupervisionStore]:
    opened = SupervisionStore(services.writer_database_url)
    yield opened
    opened.close()


@pytest.fixture
def fenced(services: Services) -> Iterator[Callable[[str], psycopg.Connection[tuple[object, ...]]]]:
    """Opens a batch's transaction, as a driver does that freezes in it."""
    opened: list[psycopg.Connection[tuple[object, ...]]] = []

    def fence(name: str) -> psycopg.Connection[tuple[object, ...]]:
        connection = psycopg.connect(services.writer_database_url, application_name=name)
        connection.execute("SELECT 1 FROM stream_fence FOR SHARE")
        opened.append(connection)
        return connection

    yield fence
    for connection in opened:
        connection.close()


def test_the_successor_does_not_wait_for_the_open_batch_of_a_frozen_driver(
    services: Services, fenced: Callable[[str], psycopg.Connection[tuple[object, ...]]]
) -> None:
    frozen = Lease(services.writer_database_url)
    epoch = frozen.acquire("frozen", 1)
    batches = [fenced(application_name(epoch)) for _ in range(2)]
    # Others: the trade stream's, a longer name, a later epoch, and what is no epoch at all.
    names = (
        application_name(epoch, "crypto_trades"),
        f"market_streams:{epoch}",
        application_name(9),
        "market_stream:x",
    )
    others = [psycopg.connect(services.writer_database_url, application_name=name) for name in names]
    began = time.monotonic()
    Lease(services.writer_database_url).acquire("successor", 2, stale_after_seconds=0)
    assert time.monotonic() - began < 10, "the batch's own time-out is 60 s"
    for batch in batches:
        with pytest.raises(psycopg.OperationalError):
            batch.commit()
    with pytest.raises(psycopg.OperationalError):
        frozen.heartbeat({})
    for other in others:
        assert other.execute("SELECT 1").fetchone() == (1,)
        other.close()


def test_a_replaced_owner_that_wakes_learns_it_on_a_new_connection(services: Services) -> None:
    old = Lease(services.writer_database_url)
    epoch = old.acquire("old", 1)
    new = Lease(services.writer_database_url)
    new.acquire("new", 2, stale_after_seconds=0)
    woken = Lease(services.writer_database_url, epoch=epoch)
    assert not woken.heartbeat({})
    woken.release(last_error="too late")
    state = read_stream_state(services.reader_database_url)
    assert state is not None
    assert (state.owner, state.last_error) == ("new", None)


def test_an_owner_is_asked_to_stop_by_what_is_wanted(services: Services, store: SupervisionStore) -> None:
    lease = Lease(services.writer_database_url)
    lease.acquire("a", os.getpid())
    assert lease.heartbeat({"queries": {}})
    assert not lease.is_stop_asked
    store.desire("stopped", by="Ada", why="lunch", run="manual__1")
    assert lease.heartbeat({"queries": {}})
    assert lease.is_stop_asked
    lease.release()
    (start,) = store.read().starts
    assert (start.outcome, start.reason) == ("stopped", "stopped by Ada: lunch")
    held = store.read().lease
    assert held is not None
    assert (held.desired_state, held.desired_by, held.desired_why) == ("stopped", "Ada", "lunch")
    assert held.desired_run == "manual__1"
    store.desire("running", by="Bea", why="back")
    following = Lease(services.writer_database_url)
    following.acquire("b", os.getpid())
    assert following.heartbeat({})
    assert not following.is_stop_asked, "that was another's"
    assert store.read().lease.forgiven_at is not None  # type: ignore[union-attr]


def test_what_is_wanted_can_be_said_before_the_first_start(services: Services, store: SupervisionStore) -> None:
    store.desire("stopped", by="Ada", why="not yet")
    assert read_stream_state(services.reader_database_url).epoch == 0  # type: ignore[union-attr]
    assert Lease(services.writer_database_url).acquire("a", 1) == 1


def test_every_start_and_its_end_are_recorded(services: Services, store: SupervisionStore) -> None:
    number = store.add_start("first start", "here")
    store.launched(number, os.getpid(), 1.5, None)
    lease = Lease(services.writer_database_url)
    epoch = lease.acquire("a", os.getpid())
    (start,) = store.read().starts
    assert (start.id, start.epoch, start.cause, start.pid, start.outcome) == (
        number,
        epoch,
        "first start",
        os.getpid(),
        None,
    )
    assert store.read().lease.process_started is not None  # type: ignore[union-attr]
    batch = {"query": "events_crypto", "batch_id": 7, "offsets": {"t": {"0": [1, 2]}}}
    lease.release(last_error="no such table", failed_batch=batch)
    (start,) = store.read().starts
    assert (start.outcome, start.reason, start.failed_batch) == ("failed", "no such table", batch)
    # What the supervisor finds out later does not change what the application itself has said.
    store.end_start(number, "died", "gone")
    assert store.read().starts[0].outcome == "failed"

    by_hand = Lease(services.writer_database_url)
    by_hand.acquire("b", 1)
    taken = Lease(services.writer_database_url)
    taken.acquire("c", 2, stale_after_seconds=0)
    newest, older, _ = store.read().starts
    assert (newest.cause, newest.outcome, newest.pid) == ("by hand", None, None)
    assert (older.outcome, older.reason) == ("died", "its lease was taken over")
    taken.release()
    assert store.read().starts[0].outcome == "stopped"


def test_an_expired_owner_is_no_owner_and_the_next_need_not_wait(services: Services, store: SupervisionStore) -> None:
    lease = Lease(services.writer_database_url)
    epoch = lease.acquire("a", 1)
    store.expire(epoch + 1, "not that one")
    assert lease.heartbeat({})
    store.expire(epoch, "its process is gone")
    assert not lease.heartbeat({})
    assert Lease(services.writer_database_url).acquire("b", 2) == epoch + 1


def test_only_one_supervisor_takes_a_step(services: Services, store: SupervisionStore) -> None:
    other = SupervisionStore(services.writer_database_url)
    trades = SupervisionStore(services.writer_database_url, "crypto_trades")
    with store.alone() as first, other.alone() as second, trades.alone() as third:
        assert (first, second, third) == (True, False, True)
    with other.alone() as again:
        assert again
    other.close()
    trades.close()


def test_work_in_the_database_is_seen(services: Services, store: SupervisionStore) -> None:
    lease = Lease(services.writer_database_url)
    epoch = lease.acquire("a", 1)
    with psycopg.connect(services.writer_database_url, application_name=application_name(epoch)) as batch:
        batch.execute("SELECT 1")
        assert not store.read().busy, "an open transaction alone is no work"
        with ThreadPoolExecutor() as pool, psycopg.connect(services.writer_database_url) as blocker:
            blocker.execute("LOCK TABLE candles IN SHARE ROW EXCLUSIVE MODE")
            waiting = pool.submit(batch.execute, "LOCK TABLE candles IN ROW EXCLUSIVE MODE")
            wait_until(lambda: store.read().busy, seconds=10, what="the wait for a lock")
            blocker.commit()
            waiting.result(10)
