"""Past bars from the sources into the warehouse: what backfills and repairs do for a symbol and a day."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from include.errors import SourceError, Transient
from include.market.calendar import NEW_YORK
from include.market.corporate_action import as_traded, half_adjusted, split_ratio
from include.market.gaps import Span
from include.market.moments import day_bounds, micros, moment
from include.producers.history import Fetched, History
from include.settings import Settings, required
from include.sources.catalogue import catalogue
from include.storage.corporate_actions import actions_of, keep_actions, looked_at
from include.storage.gap_store import GapStore
from include.storage.history_store import Part
from include.storage.stream_store import NO_EPOCH, StreamStore
from spark_jobs.backfill import Stored, store_bars

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from include.market.event import AssetClass, MarketEvent

#: Further back no bar can be fetched, nor any dividend be of use.
ACTIONS_BACK = timedelta(days=730)
#: About a split, a source may have applied it to a part of a day.
NEAR_A_SPLIT = timedelta(days=4)
#: So long a part waits for calls that it may make.
QUOTA_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Filled:
    """What was asked for and what became of it."""

    fetched: Fetched
    stored: Stored

    def as_dict(self) -> dict[str, Any]:
        """For a task's result."""
        counts = asdict(self.stored) | {"fetched": len(self.fetched.bars), "calls": self.fetched.calls}
        counts |= {"missing": len(self.stored.missing), "sources": list(self.fetched.sources)}
        return counts | ({"reason": self.fetched.reason} if self.fetched.reason else {})


class Backfiller:
    """One asset class: its sources, the warehouse and the ledger of gaps. Raises SettingsError, psycopg.Error."""

    def __init__(self, configuration: Settings, asset_class: AssetClass, only: str | None = None) -> None:
        url = required(configuration.writer_database_url or configuration.database_url, "DATABASE_URL")
        self.history = History.connected(configuration, asset_class, only)
        self.gaps = GapStore(url)
        self._store = StreamStore(url, NO_EPOCH)
        self._url = url
        self._asset_class = asset_class
        self._delay = timedelta(seconds=configuration.watermark_seconds)

    def preview(self, symbol: str, day: date) -> dict[str, Any]:
        """The minutes that are missing, and what asking for the day costs; nobody is asked."""
        window = Span(*day_bounds(day))
        missing = self.gaps.missing(window, symbol)
        cost = self.history.cost(catalogue().get(symbol), micros(window.start), micros(window.end))
        minutes = sum(span.minutes for span in missing)
        return {
            "symbol": symbol,
            "day": f"{day}",
            "missing": minutes,
            "spans": [f"{span.start:%H:%M} ({span.minutes} min)" for span in missing],
            "source": None if cost is None else cost.source,
            "calls": 0 if cost is None else cost.calls,
            "units": 0 if cost is None else cost.units,
        }

    def fill(
        self, run_id: str, symbol: str, day: date, span: Span | None = None, wanted: Collection[int] = ()
    ) -> Filled:
        """Ask for the bars of the day, or of a span of it, and put them in; the ledger of gaps follows.

        Raises DayIsCold, PublishError, psycopg.Error.
        """
        window = Span(*day_bounds(day))
        start, end = span or window
        if span is None:
            self._await_quota()
        fetched = self.history.fetch(catalogue().get(symbol), micros(start), micros(end), wanted)
        fetched, bars, ratio = self._as_traded(fetched, symbol, day)
        source = fetched.bars[0].source if fetched.bars else next(iter(fetched.sources), None)
        part = Part(
            run_id, symbol, day, "1m", source, len(fetched.bars) + fetched.left, fetched.left, fetched.refused,
            fetched.calls, fetched.reason or None,
        )  # fmt: skip
        stored = store_bars(self._store, part, bars, self._asset_class, self._delay, revise=ratio == 1)
        self.gaps.follow(window, [symbol], only_known=True)
        return Filled(fetched, stored)

    def _await_quota(self) -> None:
        """Many days at once wait for each other: half of each quota is the polls'."""
        waits = Retrying(
            retry=retry_if_result(lambda calls: calls <= 0), stop=stop_after_delay(QUOTA_SECONDS), wait=wait_fixed(2)
        )
        try:
            waits(self.history.spare)
        except RetryError as error:
            raise Transient("the polls need what is left of the quota; it is tried again") from error

    def _learn_actions(self, symbol: str, now: datetime) -> None:
        """Ask for the symbol's splits and dividends of two years. Raises the SourceError tree, psycopg.Error."""
        since = now - ACTIONS_BACK
        found = self.history.actions(catalogue().get(symbol), micros(since))
        # Where none of the sources in use tells of them, nothing is withdrawn.
        if found is not None:
            keep_actions(self._url, symbol, found, since.date())

    def _as_traded(self, fetched: Fetched, symbol: str, day: date) -> tuple[Fetched, Sequence[MarketEvent], Fraction]:
        """Bars in the shares of their day, and the ratio of the splits since that their source had applied."""
        if self._asset_class != "stock" or not fetched.bars:
            return fetched, fetched.bars, Fraction(1)
        now = datetime.now(UTC)
        midnight = datetime.combine(now.astimezone(NEW_YORK).date(), time(), NEW_YORK)
        known = looked_at(self._url, symbol)
        # Once a day and symbol: whichever part comes first.
        if known is None or known < midnight:
            try:
                self._learn_actions(symbol, now)
            except SourceError as error:
                # Whoever takes a day before a split for one of now's shares falsifies it.
                if day < midnight.date():
                    reason = f"whether it was split since is not known: {type(error).__name__}: {error}"
                    return replace(fetched, bars=(), sources=(), is_whole=False, reason=reason), (), Fraction(1)
        actions = actions_of(self._url, symbol)
        near = [action.ratio for action in actions if abs(action.ex_date - day) <= NEAR_A_SPLIT]
        torn = half_adjusted(fetched.bars, near)
        if torn is not None:
            at = moment(torn.event_time)
            reason = f"half-adjusted: from {at:%H:%M} on the bars are in other shares; nothing of the day was taken"
            return replace(fetched, bars=(), is_whole=False, reason=reason), (), Fraction(1)
        if not all(self.history.adjusts(source) for source in {bar.source for bar in fetched.bars}):
            return fetched, fetched.bars, Fraction(1)
        ratio = split_ratio(actions, day, midnight.date())
        return fetched, fetched.bars if ratio == 1 else as_traded(fetched.bars, ratio), ratio

    def close(self) -> None:
        self.history.close()
        self.gaps.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
