"""Fault tests: the real driver on real services, each run compared with one that nothing disturbed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.faults.feed import Record, records
from tests.faults.world import Rows, World
from tests.stores import Services

#: Printed with every failure; a run is repeated by setting it.
SEED = int(os.environ.get("FAULT_SEED", "1"))


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What stands after all records when nothing went wrong."""

    rows: Rows
    prices: dict[str, str]


@pytest.fixture(scope="session")
def market() -> Sequence[Record]:
    print(f"FAULT_SEED={SEED}")
    return records(SEED)


@pytest.fixture(scope="session")
def undisturbed(services: Services, market: Sequence[Record], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    world = World(services, market, tmp_path_factory.mktemp("undisturbed"))
    try:
        driver = world.driver()
        world.finish()
        world.check_ledger()
        assert driver.stop() == 0
        rows, prices = world.rows(), world.prices()
    finally:
        world.end()
    assert all(rows.values())
    return Undisturbed(rows, prices)


@pytest.fixture
def world(
    services: Services, market: Sequence[Record], undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Empty tables and topics, and no driver yet."""
    made = World(services, market, tmp_path_factory.mktemp("driver"))
    yield made
    made.end()
