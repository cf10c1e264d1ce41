"""A twin of the supervisor's store, in memory, by the machine's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from include.storage.lease import StreamState
from include.storage.supervision import Outcome, Record, Start
from tests.unit.operations.sights import LONG_AGO


class RecordTwin:
    """`on_read` is called before each look: there the test lets the application do its part."""

    def __init__(self, held: StreamState | None = None, *starts: Start) -> None:
        self.application = "market_stream"
        self.lease = held
        self.starts = list(starts)
        self.on_read: Callable[[RecordTwin], None] = lambda twin: None
        self.is_free = True
        self.sampled: list[int] = []

    @contextmanager
    def alone(self) -> Iterator[bool]:
        yield self.is_free

    def read(self) -> Record:
        self.on_read(self)
        return Record(datetime.now(UTC), LONG_AGO, False, self.lease, tuple(self.starts))

    def ask_to_stop(self, epoch: int, reason: str) -> None:
        assert self.lease is not None
        self.lease = replace(self.lease, stop_epoch=epoch)

    def expire(self, epoch: int, reason: str) -> None:
        assert self.lease is not None
        assert self.lease.epoch == epoch
        self.lease = replace(self.lease, owner=None, pid=None, last_error=reason)

    def add_start(self, cause: str, host: str | None) -> int:
        number = len(self.starts) + 1
        self.starts.insert(0, Start(number, None, datetime.now(UTC), cause, host))
        return number

    def launched(self, start: int, pid: int | None, process_started: float | None, tracked: str | None) -> None:
        self._change(start, pid=pid, process_started=process_started, tracked=tracked)

    def end_start(self, start: int, outcome: Outcome, reason: str | None) -> None:
        self._change(start, ended_at=datetime.now(UTC), outcome=outcome, reason=reason)

    def add_lag_sample(self, samples: Any, now: datetime, lag: int) -> list[dict[str, Any]]:
        self.sampled.append(lag)
        return [*samples, {"at": now.isoformat(), "lag": lag}]

    def _change(self, start: int, **changes: Any) -> None:
        self.starts = [replace(one, **changes) if one.id == start else one for one in self.starts]
