"""The last good answer of one source of a page, and what is said while that source does not answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

from include.errors import MarketDataError

#: Readers who ask at about the same time share an answer.
FRESH_FOR = timedelta(seconds=3)
#: A source that does not answer is not asked by every beat of every reader.
LEFT_ALONE_FOR = timedelta(seconds=8)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Known(Generic[Answer]):
    """`value` as of `at`, both None before the first good answer; `failure` is why there is no newer one."""

    value: Answer | None = None
    at: datetime | None = None
    failure: str | None = None


class Remembered(Generic[Answer]):
    """Asks `question` when what is known is too old. Safe to call from several threads: one asks, the others get
    what is known meanwhile."""

    def __init__(
        self, question: Callable[[], Answer], clock: Callable[[], datetime], fresh_for: timedelta = FRESH_FOR
    ) -> None:
        self._question = question
        self._clock = clock
        self._fresh_for = fresh_for
        self._asking = Lock()
        self._known: Known[Answer] = Known()
        self._next: datetime | None = None

    def look(self) -> Known[Answer]:
        """Never raises for a source that does not answer: MarketDataError becomes `failure`."""
        if not self._asking.acquire(blocking=False):
            return self._known
        try:
            now = self._clock()
            if self._next is None or now >= self._next:
                self._ask(now)
            return self._known
        finally:
            self._asking.release()

    def forget(self) -> None:
        """The next look asks anew: something was changed by us."""
        self._next = None

    def _ask(self, now: datetime) -> None:
        self._next = now + self._fresh_for
        try:
            self._known = Known(self._question(), now)
        except MarketDataError as error:
            self._known = replace(self._known, failure=(str(error).splitlines() or ["no reason given"])[0])
            self._next = self._clock() + LEFT_ALONE_FOR
