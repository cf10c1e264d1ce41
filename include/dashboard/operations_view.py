"""What the operations page asks of each of its sources, and what it goes on showing while one does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from include.dashboard.operations_selection import OperationsSelection, parse_operations_selection
from include.dashboard.remembered import Remembered
from include.errors import Unreachable
from include.operations.dag_runs import DagRun
from include.operations.kafka_look import TOPICS, Record, TopicLook
from include.storage.gap_reads import GapReads
from include.storage.lease import StreamState
from include.storage.operations_reads import OperationsReads
from include.storage.operations_rows import GapCounts, GapRow, QueryFigures, RowsOfMinute, SourceRow, Used, Window
from include.storage.source_switches import SourceSwitch

CHART_SPAN = timedelta(hours=1)
LETTERS_SHOWN = 50
#: Dead letters are few, and to read them takes a connection to Kafka.
_LETTERS_FRESH_FOR = timedelta(seconds=10)


class Letter(Protocol):
    """A dead letter, as `include.producers` has it: the dashboard knows no producer."""

    @property
    def id(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def source(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def asked_for(self) -> str: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def raw_bytes(self) -> int: ...
    @property
    def outcome(self) -> str: ...


class Judged(Protocol):
    """What a replay did with one letter, or would do."""

    @property
    def letter(self) -> Letter: ...
    @property
    def events(self) -> int: ...
    @property
    def words(self) -> str: ...


class LetterDesk(Protocol):
    """Dead letters and their replay; every method may raise MarketDataError."""

    def newest(self, limit: int) -> Sequence[Letter]: ...
    def get(self, id_: str) -> Letter: ...
    def judge(self, ids: Sequence[str]) -> Sequence[Judged]: ...
    def replay(self, ids: Sequence[str]) -> Sequence[Judged]: ...


class TopicsLook(Protocol):
    """Both may raise Unreachable."""

    def topics(self) -> list[TopicLook]: ...
    def records(self, topic: str, partition: int | None, offset: int | None, limit: int) -> list[Record]: ...


class RunsLook(Protocol):
    """May raise Unreachable."""

    def newest(self) -> list[DagRun]: ...


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `units` of a source's `unit` in any `seconds`; `setting` is the name under which people set it."""

    setting: str
    seconds: int
    units: int


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source without asking: its quotas, whether it has the key it needs, and what it is for."""

    name: str
    unit: str
    quotas: tuple[Quota, ...]
    has_key: bool = True
    asset_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamPicture:
    lease: StreamState | None
    queries: Sequence[QueryFigures]
    minutes: Sequence[RowsOfMinute]


@dataclass(frozen=True, slots=True)
class SourcesPicture:
    health: Sequence[SourceRow]
    used: Sequence[Used]
    serving: Sequence[SourceSwitch]
    switches: Sequence[SourceSwitch]


@dataclass(frozen=True, slots=True)
class GapsPicture:
    gaps: Sequence[GapRow]
    counts: GapCounts


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the view looks; None: this dashboard was not told where that is."""

    reader: OperationsReads
    gaps: GapReads
    kafka: TopicsLook | None = None
    runs: RunsLook | None = None
    desk: LetterDesk | None = None


class OperationsView:
    """One remembered answer a panel; each is asked in a thread of the page's own."""

    def __init__(
        self,
        doors: Doors,
        sources: Sequence[SourceFacts],
        airflow_url: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        topics: Sequence[str] = TOPICS,
    ) -> None:
        self.sources = tuple(sources)
        self.airflow_url = airflow_url
        self.clock = clock
        self.desk = doors.desk
        self._topics = tuple(topics)
        self._doors = doors
        self.stream: Remembered[StreamPicture] = Remembered(self._stream, clock)
        self.source_states: Remembered[SourcesPicture] = Remembered(self._sources, clock)
        self.topics: Remembered[list[TopicLook]] = Remembered(self._topic_looks, clock)
        self.letters: Remembered[Sequence[Letter]] = Remembered(self._letters, clock, _LETTERS_FRESH_FOR)
        self.dag_runs: Remembered[list[DagRun]] = Remembered(self._dag_runs, clock)
        self.gaps: Remembered[GapsPicture] = Remembered(self._gaps, clock)
        #: A source that is away must not take the threads of the other pages.
        self.threads = ThreadPoolExecutor(max_workers=6, thread_name_prefix="operations")

    def select(self, search: str | None) -> OperationsSelection:
        return parse_operations_selection(search, self._topics)

    def records(self, chosen: OperationsSelection) -> list[Record]:
        """Of the chosen topic. Raises Unreachable."""
        if self._doors.kafka is None or chosen.topic is None:
            raise Unreachable("KAFKA_BOOTSTRAP_SERVERS is not set")
        return self._doors.kafka.records(chosen.topic, chosen.partition, chosen.offset, chosen.count)

    def _stream(self) -> StreamPicture:
        reader = self._doors.reader
        return StreamPicture(reader.lease(), reader.queries(), reader.minutes(self.clock() - CHART_SPAN))

    def _sources(self) -> SourcesPicture:
        reader = self._doors.reader
        windows = [Window(each.name, quota.seconds) for each in self.sources for quota in each.quotas]
        return SourcesPicture(reader.health(), reader.used(windows), reader.serving(), reader.switches())

    def _topic_looks(self) -> list[TopicLook]:
        if self._doors.kafka is None:
            raise Unreachable("KAFKA_BOOTSTRAP_SERVERS is not set")
        return self._doors.kafka.topics()

    def _letters(self) -> Sequence[Letter]:
        if self.desk is None:
            raise Unreachable("this page was started without the dead letters")
        return self.desk.newest(LETTERS_SHOWN)

    def _dag_runs(self) -> list[DagRun]:
        if self._doors.runs is None:
            raise Unreachable("AIRFLOW_URL, AIRFLOW_USERNAME or AIRFLOW_PASSWORD is not set")
        return self._doors.runs.newest()

    def _gaps(self) -> GapsPicture:
        return GapsPicture(self._doors.gaps.gaps(), self._doors.gaps.counts())
