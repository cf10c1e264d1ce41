"""The order of the tests of a whole stack."""

from __future__ import annotations

import pytest

#: After all others: the first takes the shared stack down for good, and the machine is the second's alone.
LAST = ("test_down", "test_replay")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [item.path.stem for item in items]
    places = [LAST.index(name) if name in LAST else -1 for name in names]
    items[:] = [item for _, item in sorted(zip(places, items, strict=True), key=lambda pair: pair[0])]
