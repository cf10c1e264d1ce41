"""The schema changes under a running driver: it is not restarted, and nothing is lost, doubled or late."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from include.storage import migrate
from tests.faults.conftest import Undisturbed
from tests.faults.world import World
from tests.trial_revisions import trial_revisions
from tests.waiting import wait_until

#: Expand: what the running code does not know and does not need. Contract: gone again.
EXPAND = [
    f"ALTER TABLE market.{table} ADD COLUMN trial numeric; CREATE INDEX {table}_trial ON market.{table} (trial)"
    for table in ("market_events", "candles")
]
CONTRACT = [f"ALTER TABLE market.{table} DROP COLUMN trial" for table in ("market_events", "candles")]


@pytest.mark.exhaustive
def test_migrations_in_mid_stream(world: World, undisturbed: Undisturbed, tmp_path: Path) -> None:
    url = world.services.database_url
    with trial_revisions(tmp_path) as trials:
        expand, contract = trials.add(EXPAND, CONTRACT), trials.add(CONTRACT, EXPAND)
        driver = world.driver()
        world.feed_and_commit()
        try:
            for change, revisions in (
                (lambda: migrate.upgrade(url, "sandbox", expand), [expand]),
                (lambda: migrate.upgrade(url, "sandbox", contract), [contract]),
                (lambda: migrate.downgrade(url, trials.head), [contract, expand]),
                (lambda: migrate.downgrade(url, "0010"), None),
                (lambda: migrate.upgrade(url, "sandbox", trials.head), None),
            ):
                done = while_fed(world, change)
                assert done == revisions if revisions else done
                before = world.committed_batches()
                world.feed_and_commit(chunks=1)
                assert world.committed_batches() > before, "it goes on behind the change"
        finally:
            migrate.downgrade(url, trials.head)
            migrate.upgrade(url, "sandbox", trials.head)
        world.finish()
        assert driver.is_running, driver.log.read_text()[-2_000:]
    world.check(undisturbed.rows)


def while_fed(world: World, change: Callable[[], list[str]]) -> list[str]:
    """Applied in mid-stream: batches are on their way before, at and behind it."""
    with ThreadPoolExecutor(1) as pool:
        world.feed()
        changing = pool.submit(change)
        while not changing.done():
            world.feed()
            wait_until(lambda: changing.done() or world.is_settled(), seconds=60, what="the change, or a batch")
        return changing.result()
