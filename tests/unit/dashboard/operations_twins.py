"""In-memory twins of what the operations page asks, and rows to fill them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from include.dashboard.operations_view import Doors, OperationsView, Quota, SourceFacts
from include.errors import MarketDataError, Unreachable
from include.operations.dag_runs import DagRun
from include.operations.kafka_look import TOPICS, PartitionLook, Record, TopicLook
from include.storage.lease import StreamState
from include.storage.operations_rows import GapCounts, GapRow, QueryFigures, RowsOfMinute, SourceRow, Used, Window
from include.storage.read_connections import DatabaseUnavailable
from include.storage.source_switches import SourceSwitch

NOW = datetime(2026, 3, 2, 14, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AIRFLOW = "http://127.0.0.1:8080"
STOCKS, CRYPTO, DEAD = TOPICS[0], TOPICS[1], TOPICS[2]
RUNNING = StreamState(
    epoch=7,
    owner="driver-a",
    pid=4711,
    started_at=NOW - timedelta(hours=3),
    heartbeat_at=NOW - timedelta(seconds=2),
    desired_state="running",
    details={
        "spark_ui": "http://127.0.0.1:4040",
        "queries": {
            "events_stock": {
                "batch_id": 41,
                "input_rows_per_second": 12.34,
                "rows_per_second": 250.0,
                "watermark": "2026-03-02T13:50:00.000Z",
                "lag": 1200,
                "batch_seconds_p95": 0.734,
            },
            "events_crypto": {"batch_id": None, "watermark": "1970-01-01T00:00:00.000Z", "lag": None},
        },
    },
    last_error=None,
)
DOWN = replace(RUNNING, owner=None, pid=None, last_error="psycopg.OperationalError: no space left")
SILENT = replace(RUNNING, heartbeat_at=NOW - timedelta(minutes=3))
STOPPED = replace(DOWN, desired_state="stopped", desired_by="admin", desired_why="upgrade")
QUERIES = [QueryFigures("events_stock", 42, NOW - timedelta(seconds=9), 5000, 3, 0)]
MINUTES = [
    RowsOfMinute("events_crypto", datetime(2026, 3, 2, 13, 58, tzinfo=UTC), 30),
    RowsOfMinute("events_stock", datetime(2026, 3, 2, 13, 59, tzinfo=UTC), 80),
    RowsOfMinute("events_stock", datetime(2026, 3, 2, 14, 0, tzinfo=UTC), 7),
]
SOURCES = (
    SourceFacts(
        "yahoo",
        "calls",
        (Quota("YAHOO_CALLS_PER_MINUTE", 60, 60), Quota("YAHOO_CALLS_PER_HOUR", 3600, 2000)),
        asset_classes=("crypto", "stock"),
    ),
    SourceFacts("alpha_vantage", "calls", (Quota("ALPHA_VANTAGE_CALLS_PER_DAY", 86_400, 25),), has_key=False),
    SourceFacts("binance", "weight", (Quota("BINANCE_WEIGHT_PER_MINUTE", 60, 6000),), asset_classes=("crypto",)),
)
BANNED = {
    "state": "open",
    "failures": 1,
    "openings": 1,
    "until": (NOW + 20 * MINUTE).timestamp(),
    "error": "Banned",
    "reason": "status 418",
}
HEALTH = [SourceRow("binance", BANNED, NOW), SourceRow("yahoo", {"state": "closed"}, NOW)]
USED = [
    Used("yahoo", 60, 60, NOW + timedelta(seconds=12)),
    Used("yahoo", 3600, 300, NOW + timedelta(seconds=50)),
    Used("alpha_vantage", 86_400, 0, None),
    Used("binance", 60, 40, NOW + timedelta(seconds=1)),
]
SWITCHES = [
    SourceSwitch(NOW - 5 * MINUTE, "crypto", "bar60", "binance", "yahoo", "binance: status 418"),
    SourceSwitch(NOW - timedelta(hours=4), "stock", "bar60", None, "yahoo", "the preferred one"),
]
LOOKS = [
    TopicLook(
        STOCKS, (PartitionLook(0, 100, 160, 150), PartitionLook(1, 0, 20, 20)), 168 * 3_600_000, "spark-events_stock"
    ),
    TopicLook(CRYPTO, (PartitionLook(0, 0, 5), PartitionLook(1, 0, 0)), 168 * 3_600_000, "spark-events_crypto"),
    TopicLook(DEAD, (PartitionLook(0, 2, 9),), 24 * 3_600_000),
    TopicLook(TOPICS[3], is_there=False),
]
RECORD = Record(STOCKS, 0, 159, NOW, b"AAPL", b'{"symbol":"AAPL","close":"1.50","<b>":1.500}')
RUNS = [
    DagRun(
        "market_stream",
        "scheduled__2026-03-02T14:00:00+00:00",
        "running",
        "scheduled",
        NOW - timedelta(seconds=30),
        None,
        NOW,
    ),
    DagRun("repair_gaps", "manual__1", "failed", "manual", NOW - 9 * MINUTE, NOW - 8 * MINUTE, NOW - 9 * MINUTE),
    DagRun("backfill_bars", "backfill__1", "queued", "backfill", None, None, NOW - 10 * MINUTE),
]
GAP = GapRow("AAPL", NOW - 30 * MINUTE, NOW - 10 * MINUTE, "our outage", "open", None, 2, NOW + 4 * MINUTE)
LOST = GapRow("IBM", NOW - timedelta(days=2), NOW - timedelta(days=1), "halt", "unfillable", "no source has it", 5, NOW)


@dataclass(frozen=True)
class TwinLetter:
    id: str
    at: datetime = NOW - MINUTE
    source: str = "binance"
    symbol: str = "BTC-USD"
    reason: str = "row: <i>short</i>"
    asked_for: str = "bar60"
    raw: bytes = b'[["<script>"]]'
    raw_bytes: int = 14
    outcome: str = ""


@dataclass(frozen=True)
class TwinJudged:
    letter: TwinLetter
    events: int
    words: str


GOOD, BAD = TwinLetter(f"{DEAD}/0/7"), TwinLetter(f"{STOCKS}/0/8", symbol="", asked_for="", outcome="still bad: x")


@dataclass
class MemoryDesk:
    """Letters of which the first can be published; `published` is what was."""

    letters: list[TwinLetter] = field(default_factory=lambda: [GOOD, BAD])
    published: list[str] = field(default_factory=list)
    up: bool = True

    def newest(self, limit: int) -> Sequence[TwinLetter]:
        self._answer()
        return self.letters[:limit]

    def get(self, id_: str) -> TwinLetter:
        self._answer()
        for each in self.letters:
            if each.id == id_:
                return each
        raise MarketDataError(f"there is no dead letter {id_}")

    def judge(self, ids: Sequence[str]) -> Sequence[TwinJudged]:
        found = [self.get(each) for each in ids]
        return [
            TwinJudged(each, 3, "would publish 3 events") if each == GOOD else TwinJudged(each, 0, "still bad: x")
            for each in found
        ]

    def replay(self, ids: Sequence[str]) -> Sequence[TwinJudged]:
        done = [replace(each, words=each.words.replace("would publish", "published")) for each in self.judge(ids)]
        self.published += [each.letter.id for each in done if each.events]
        return done

    def _answer(self) -> None:
        if not self.up:
            raise Unreachable("Kafka does not give its dead letters")


@dataclass
class MemoryOperations:
    """Reader, gaps, Kafka and Airflow in one; each part can be down."""

    held: StreamState | None = RUNNING
    up: bool = True
    kafka_up: bool = True
    airflow_up: bool = True
    rows: list[GapRow] = field(default_factory=lambda: [GAP, LOST])
    asked: int = 0

    def lease(self) -> StreamState | None:
        self._answer()
        self.asked += 1
        return self.held

    def queries(self) -> list[QueryFigures]:
        self._answer()
        return QUERIES

    def minutes(self, since: datetime) -> list[RowsOfMinute]:
        self._answer()
        return [each for each in MINUTES if each.minute >= since]

    def health(self) -> list[SourceRow]:
        self._answer()
        return HEALTH

    def used(self, windows: Sequence[Window]) -> list[Used]:
        self._answer()
        return [each for each in USED if Window(each.source, each.seconds) in windows]

    def serving(self) -> list[SourceSwitch]:
        self._answer()
        return SWITCHES

    def switches(self, limit: int = 8) -> list[SourceSwitch]:
        self._answer()
        return SWITCHES[:limit]

    def gaps(self, limit: int = 60) -> list[GapRow]:
        self._answer()
        return self.rows[:limit]

    def counts(self) -> GapCounts:
        self._answer()
        return GapCounts(1, 20, 1, 1440) if self.rows else GapCounts()

    def topics(self) -> list[TopicLook]:
        self._kafka()
        return LOOKS

    def records(self, topic: str, partition: int | None, offset: int | None, limit: int) -> list[Record]:
        self._kafka()
        return [RECORD] if topic == STOCKS and offset in (None, 159) else []

    def newest(self) -> list[DagRun]:
        if not self.airflow_up:
            raise Unreachable("Airflow does not answer: ConnectError")
        return RUNS

    def _answer(self) -> None:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer: refused")

    def _kafka(self) -> None:
        if not self.kafka_up:
            raise Unreachable("Kafka does not answer: Local: Timed out")


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def operations(
    memory: MemoryOperations | None = None, desk: MemoryDesk | None = None, clock: Clock | None = None
) -> OperationsView:
    memory = memory or MemoryOperations()
    return OperationsView(Doors(memory, memory, memory, memory, desk), SOURCES, AIRFLOW, clock or Clock())
