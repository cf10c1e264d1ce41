"""Airflow's API as its users call it, and the order of the tests of a whole stack."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.conftest import RunningStack

#: After all others: the first takes the shared stack down for good, and the machine is the second's alone.
LAST = ("test_down", "test_replay")


@pytest.fixture(scope="session")
def token(stack: RunningStack) -> str:
    login = {"username": stack.env["AIRFLOW_USERNAME"], "password": stack.env["AIRFLOW_PASSWORD"]}
    answer = httpx2.post(f"{stack.env['AIRFLOW_URL']}/auth/token", json=login).raise_for_status().json()
    return str(answer["access_token"])


@pytest.fixture(scope="session")
def api(stack: RunningStack, token: str) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=f"{stack.env['AIRFLOW_URL']}/api/v2", headers=headers, timeout=30) as client:
        yield client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [item.path.stem for item in items]
    places = [LAST.index(name) if name in LAST else -1 for name in names]
    items[:] = [item for _, item in sorted(zip(places, items, strict=True), key=lambda pair: pair[0])]
