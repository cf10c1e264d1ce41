"""The ledger's position beside Kafka's ends: what is unread, and what has waited for too long."""

from __future__ import annotations

import pytest

from include.operations.backlog import Ends, Position, compared
from tests.unit.operations.sights import NOW


@pytest.mark.parametrize(
    ("offsets", "is_whole", "ends", "behind", "overdue"),
    [
        # All is read.
        ({0: 9}, True, {0: Ends(0, 9, 9)}, 0, False),
        # What came just now is no reproach.
        ({0: 9}, True, {0: Ends(0, 12, 9)}, 3, False),
        # From 9 on it is older than the patience.
        ({0: 9}, True, {0: Ends(0, 12, 10)}, 3, True),
        # A partition without a batch, all batches known: it was never read.
        ({0: 9}, True, {0: Ends(0, 9, 9), 1: Ends(2, 5, 5)}, 3, True),
        # The same where older batches were not looked at: not known, so not counted.
        ({0: 9}, False, {0: Ends(0, 9, 9), 1: Ends(2, 5, 5)}, 0, False),
        # What Kafka has dropped cannot be waited for.
        ({0: 3}, True, {0: Ends(7, 9, 7)}, 2, False),
        # A topic that was made again counts from 0: nobody is ahead of it by less than nothing.
        ({0: 50}, True, {0: Ends(0, 4, 4)}, 0, False),
        ({}, True, {}, 0, False),
    ],
)
def test_records_behind_and_overdue(
    offsets: dict[int, int], is_whole: bool, ends: dict[int, Ends], behind: int, overdue: bool
) -> None:
    found = compared(Position(offsets, NOW, is_whole), ends)
    assert (found.behind, found.overdue, found.last_batch_at) == (behind, overdue, NOW)
