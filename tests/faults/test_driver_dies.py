"""The driver fails, is killed, is frozen: nothing is lost or doubled, and no old one writes after a new one."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import psutil
import pytest

from include.storage.lease import read_stream_state
from spark_jobs.failpoints import PLACES
from spark_jobs.stream import EXIT_FAILED, EXIT_NOT_OWNER
from tests.driver import Driver
from tests.faults.conftest import Undisturbed
from tests.faults.world import World
from tests.waiting import wait_until

#: Before it a row could be lost, behind it doubled.
EDGES = ("before commit", "committed")


@pytest.mark.timeout(600)  # three drivers, each a JVM that starts anew; on a busy machine that takes minutes
@pytest.mark.parametrize(
    "places", [EDGES, pytest.param([place for place in PLACES if place not in EDGES], marks=pytest.mark.exhaustive)]
)
def test_failed_and_killed_at_each_edge_of_a_batch(
    world: World, undisturbed: Undisturbed, places: Sequence[str]
) -> None:
    failing = world.driver(failpoint="events stored:fail:3")
    world.feed_until(lambda: not failing.is_running, "the failure")
    assert failing.process.returncode == EXIT_FAILED
    the_failed_batch_is_named(world)
    for place in places:
        driver = world.driver(failpoint=f"{place}:kill:3")
        world.feed_until(lambda driver=driver: not driver.is_running, f"the kill at: {place}")
        assert world.bury(driver) == -signal.SIGKILL
    world.driver()
    world.finish()
    world.check(undisturbed.rows)
    assert world.prices() == undisturbed.prices


@pytest.mark.exhaustive  # supervised, both are in the end-to-end tests
def test_jvm_alone_then_python_alone(world: World, undisturbed: Undisturbed) -> None:
    driver = world.driver()
    world.feed_and_commit()
    python = driver.python()
    driver.process.kill()
    python.wait(30)
    state = read_stream_state(world.services.database_url)
    assert state is not None
    assert state.last_error == "the JVM is gone"
    assert not state.is_alive, "the lease is given back at once"

    driver = world.driver()
    world.feed_and_commit()
    driver.python().kill()
    assert world.bury(driver) != 0, "the JVM does not stay behind"

    world.driver()
    world.finish()
    world.check(undisturbed.rows)


@pytest.mark.exhaustive  # the fence itself is in the integration tests
def test_a_frozen_one_is_replaced_and_thawed_writes_nothing(world: World, undisturbed: Undisturbed) -> None:
    # Inside its transaction: it holds the fence, which a successor needs.
    frozen = world.driver(failpoint="before commit:freeze:3")
    world.feed_until(lambda: is_frozen(frozen), "the freeze")
    old_epoch = epoch(world)
    new = replaced(world)
    world.feed_and_commit()
    new_epoch = epoch(world)
    assert new_epoch > old_epoch
    written = world.committed_batches(old_epoch)

    frozen.signal(signal.SIGCONT)
    assert frozen.process.wait(60) == EXIT_NOT_OWNER
    assert new.is_running
    world.finish()
    assert world.committed_batches(old_epoch) == written
    assert epoch(world) == new_epoch
    world.check(undisturbed.rows)


def the_failed_batch_is_named(world: World) -> None:
    ((outcome, reason, batch),) = world.rows_of(
        "SELECT outcome, reason, failed_batch FROM stream_starts WHERE outcome IS NOT NULL"
    )
    assert outcome == "failed"
    assert "asked to fail" in reason
    assert batch["query"] in ("events_stock", "events_crypto")
    assert batch["batch_id"] >= 0
    assert batch["offsets"]


def epoch(world: World) -> int:
    state = read_stream_state(world.services.database_url)
    return state.epoch if state else 0


def is_frozen(driver: Driver) -> bool:
    return psutil.Process(driver.process.pid).status() == psutil.STATUS_STOPPED


def replaced(world: World) -> Driver:
    """A driver that owns the lease: each try exits by itself while the old one's lease still runs."""
    before = epoch(world)

    def tried() -> Driver | None:
        driver = world.driver()
        wait_until(lambda: not driver.is_running or epoch(world) > before, seconds=90, what="the lease or a refusal")
        return driver if driver.is_running else None

    return wait_until(tried, seconds=120, what="a driver that takes over")
