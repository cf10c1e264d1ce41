"""The lease on the real server: one owner, a new epoch each time, and a fence that holds."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from include.errors import LeaseLost
from include.storage.lease import APPLICATION, Lease, LeaseHeld, read_stream_state
from include.storage.stream_store import StreamStore
from tests.integration.conftest import Services


@pytest.fixture(autouse=True)
def _no_lease(services: Services) -> Iterator[None]:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM stream_lease")
        connection.execute("DELETE FROM stream_fence")
        yield
        connection.execute("DELETE FROM stream_lease")
        connection.execute("DELETE FROM stream_fence")


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
    assert not frozen.heartbeat({})
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
