"""The operator, its watch, its button and its listener, each on its own; on a whole stack: tests/e2e."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.triggers.base import TaskSuccessEvent

from include.operations.stream import SPARK_DRIVER, Launched, Supervision
from include.operators import manual_stop, stream_driver, stream_trigger
from include.operators.manual_stop import ManualStop
from include.operators.stream_driver import Driver
from include.operators.stream_link import SparkUiLink
from include.operators.stream_operator import MARKED_FAILED, KeepStreamOperator, stream_params
from include.operators.stream_trigger import StreamTrigger
from include.storage.lease import StreamState
from tests.unit.operations.record_twin import RecordTwin
from tests.unit.operations.sights import lease, released, seen, start

RUN = "manual__2026-11-02T15:00:00+00:00"
TOLD = {
    "application": "market_stream",
    "state": "running",
    "why": "",
    "until": None,
    "pid": 7,
    "epoch": 4,
    "owner": "here:7",
    "since": "2026-11-02T14:00:00+00:00",
    "lag": 3,
    "queries": {"events_crypto": {"batch_id": 9}},
    "figures": {},
    "last_error": None,
    "starts_of_late": [],
    "spark_ui": "http://127.0.0.1:4040",
}


class Wishes(RecordTwin):
    """The twin with what people want."""

    def desire(self, state: str, *, by: str, why: str, run: str | None = None) -> None:
        held = self.lease or StreamState(0, None, None, None, None, "running", {}, None)
        wish = {"desired_state": state, "desired_by": by, "desired_why": why, "desired_run": run}
        self.lease = replace(held, **wish)  # type: ignore[arg-type]


@pytest.fixture
def launched() -> list[bool]:
    return []


def driver(twin: Wishes, launched: list[bool]) -> Driver:
    def launch(rebuild: bool) -> Launched:
        launched.append(rebuild)
        return Launched(None)

    return Driver(Supervision(SPARK_DRIVER, twin, launch, on_this_host=False), twin)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("action", "wanted", "state", "starts"),
    [
        ("keep", "running", "starting", [False]),
        ("start", "running", "starting", [False]),
        ("stop", "stopped", "stopped on request", []),
        ("restart", "running", "starting", [False]),
        ("rebuild", "running", "starting", [True]),
    ],
)
def test_the_form_is_applied(launched: list[bool], action: str, wanted: str, state: str, starts: list[bool]) -> None:
    twin = Wishes(released())
    told = driver(twin, launched).apply(action, run_id=RUN, by="Ada", attempt=1)
    assert twin.lease is not None
    assert (twin.lease.desired_state, told["state"], launched) == (wanted, state, starts)
    if action != "keep":
        assert (twin.lease.desired_by, twin.lease.desired_run) == ("Ada", RUN)


def test_another_try_of_a_run_does_not_apply_its_form_again(launched: list[bool]) -> None:
    twin = Wishes(released())
    twin.desire("stopped", by="Bea", why="since then", run=RUN)
    assert driver(twin, launched).apply("start", run_id=RUN, by="Ada", attempt=2)["state"] == "stopped on request"
    assert launched == []


def test_a_run_that_was_marked_as_failed_and_cleared_starts_the_stream(launched: list[bool]) -> None:
    twin = Wishes(released())
    twin.desire("stopped", by=MARKED_FAILED, why="marked", run=RUN)
    other, mine = {"run_id": "another", "by": "a person"}, {"run_id": RUN, "by": "a person"}
    assert driver(twin, launched).apply("keep", **other, attempt=2)["state"] == "stopped on request"
    # It was marked while it began: its first attempt goes on to here.
    assert driver(twin, launched).apply("keep", **mine, attempt=1)["state"] == "stopped on request"
    # Its own watch sees the wish before Airflow has ended the run, and calls it back: nobody has cleared it.
    assert driver(twin, launched).keep()["state"] == "stopped on request"
    assert driver(twin, launched).apply("keep", **mine, attempt=2)["state"] == "starting"
    assert launched == [False]


class Applied:
    """A driver that reports, and keeps what it was asked."""

    start_seconds = 600.0

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.asked: list[dict[str, Any]] = []

    def apply(self, action: str, **more: Any) -> dict[str, Any]:
        self.asked.append({"action": action, **more})
        return self.told

    def keep(self) -> dict[str, Any]:
        self.asked.append({})
        return self.told


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> Applied:
    found = Applied(dict(TOLD))

    @contextmanager
    def opened(*_ids: str) -> Iterator[Applied]:
        yield found

    monkeypatch.setattr(stream_driver, "opened_driver", opened)
    return found


def context(age_seconds: float, pushed: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    pushed = {} if pushed is None else pushed
    run = SimpleNamespace(
        run_id=RUN,
        run_after=datetime.now(UTC) - timedelta(seconds=age_seconds),
        triggering_user_name=None,
    )
    ti = SimpleNamespace(try_number=1, xcom_push=lambda key, value: pushed.__setitem__(key, value))
    return {"dag_run": run, "params": {"action": "keep"} | params, "ti": ti}


def test_the_task_leaves_its_worker_for_the_rest_of_the_minute(applied: Applied) -> None:
    operator = KeepStreamOperator(task_id="ensure_stream")
    now = context(10, action="restart")
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(now)
    trigger = deferred.value.trigger
    assert isinstance(trigger, StreamTrigger)
    assert datetime.fromisoformat(trigger.until) == now["dag_run"].run_after + timedelta(seconds=55)
    assert trigger.start_seconds == 600, "in a cluster a driver may wait for its resources"
    assert deferred.value.method_name == "resume"
    assert applied.asked == [{"action": "restart", "run_id": RUN, "by": "a person", "attempt": 1}]
    # Called back, it takes the step again, and the form is not meant any more.
    with pytest.raises(TaskDeferred):
        operator.resume(now, {"why": "dead"})
    assert applied.asked[1:] == [{}]


def test_a_run_that_comes_late_ends_at_once_with_its_report(applied: Applied) -> None:
    operator = KeepStreamOperator(task_id="ensure_stream")
    assert operator.execute(context(54)) == TOLD
    assert SparkUiLink().get_link(operator, ti_key=None) == TOLD["spark_ui"]


@pytest.mark.parametrize("state", ["broken: it keeps ending", "blocked by one batch"])
def test_a_stream_that_needs_a_person_fails_the_run_with_its_report(applied: Applied, state: str) -> None:
    applied.told |= {"state": state, "why": "five starts", "until": "2026-11-02T15:10:00+00:00", "pid": None}
    pushed: dict[str, Any] = {}
    with pytest.raises(AirflowFailException, match="five starts; tried again at 2026-11-02T15:10:00"):
        KeepStreamOperator(task_id="ensure_stream").execute(context(1, pushed))
    assert pushed["return_value"]["state"] == state


def test_the_form_offers_what_can_be_applied() -> None:
    assert stream_params()["action"].schema["enum"] == ["keep", "start", "stop", "restart", "rebuild"]


def test_the_watch_survives_the_way_to_another_triggerer_and_carries_no_secret() -> None:
    path, given = StreamTrigger("2026-11-02T15:00:55+00:00", 120.0).serialize()
    assert path == "include.operators.stream_trigger.StreamTrigger"
    assert given == {"until": "2026-11-02T15:00:55+00:00", "start_seconds": 120.0, "database": "postgres_default"}
    again = StreamTrigger(**given)
    assert again.serialize() == (path, given)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each look of the watch finds; the last one stays. An exception is raised."""
    found: list[Any] = []

    class Connection:
        async def __aenter__(self) -> Connection:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

    async def connect(*_: Any, **__: Any) -> Connection:
        return Connection()

    async def read(_connection: Any) -> Any:
        look = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(look, Exception):
            raise look
        return look

    monkeypatch.setattr(stream_trigger.psycopg.AsyncConnection, "connect", connect)
    monkeypatch.setattr(stream_trigger, "_read", read)
    monkeypatch.setattr(stream_trigger, "seen", lambda look: look)
    monkeypatch.setattr(stream_trigger, "POLL_SECONDS", 0.01)
    return found


def watched(seconds: float) -> Any:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return asyncio.run(StreamTrigger(until.isoformat(), 120.0).watch("postgresql://w@nowhere/x"))


def test_the_watch_ends_the_task_in_time_with_the_report(looks: list[Any]) -> None:
    looks.append(seen(lease(), start()))
    event = watched(0.1)
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms is not None
    assert event.xcoms["return_value"]["state"] == "running"
    assert event.xcoms[SparkUiLink.xcom_key] == "http://x"


def test_the_watch_calls_a_worker_as_soon_as_there_is_something_to_do(looks: list[Any]) -> None:
    looks += [seen(lease(), start()), psycopg.OperationalError("away"), seen(lease(beat=20), start())]
    event = watched(30)
    assert "without a heartbeat for 20 s" in event.payload["why"]


def test_the_watch_calls_a_worker_to_say_that_it_is_broken(looks: list[Any]) -> None:
    looks.append(seen(released(), *(start(100 * n, lasted=50) for n in range(1, 6))))
    assert watched(30).payload["why"].startswith("broken: it keeps ending")


def test_without_postgresql_the_watch_waits_and_then_lets_the_worker_say_so(looks: list[Any]) -> None:
    looks.append(psycopg.OperationalError("connection refused"))
    assert watched(0.1).payload == {"why": "PostgreSQL does not answer: connection refused"}


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    runs: list[str] = []
    monkeypatch.setattr(manual_stop, "stop", runs.append)
    return runs


def task(dag_id: str = "market_stream", task_id: str = "ensure_stream") -> Any:
    return SimpleNamespace(dag_id=dag_id, task_id=task_id, run_id=RUN)


BY_HAND = "TaskInstance's state was manually set to `failed`."


@pytest.mark.parametrize(
    ("instance", "error", "runs"),
    [
        (task(), BY_HAND, [RUN]),
        (task(), ValueError("broken"), []),
        (task(), "the heartbeat was missed", []),
        (task(), None, []),
        (task(dag_id="ingest_stocks"), BY_HAND, []),
        (task(task_id="keep_trades_streaming"), BY_HAND, []),
    ],
)
def test_only_a_person_who_marks_our_task_stops_the_stream(
    stopped: list[str], instance: Any, error: Any, runs: list[str]
) -> None:
    ManualStop().on_task_instance_failed(None, instance, error)
    assert stopped == runs


@pytest.mark.parametrize(
    ("dag_id", "message", "runs"),
    [
        ("market_stream", "Dag Run's state was manually set to `failed`.", [RUN]),
        ("market_stream", "task_failure", []),
        ("repair_gaps", "Dag Run's state was manually set to `failed`.", []),
    ],
)
def test_only_a_person_who_marks_our_run_stops_the_stream(
    stopped: list[str], dag_id: str, message: str, runs: list[str]
) -> None:
    ManualStop().on_dag_run_failed(SimpleNamespace(dag_id=dag_id, run_id=RUN), message)
    assert stopped == runs


def test_the_listener_tells_an_absent_database_and_does_not_raise(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WRITER_DATABASE_URL", "postgresql://w@127.0.0.1:1/x")
    with caplog.at_level(logging.ERROR):
        manual_stop.stop(RUN)
    assert "could not be told to stop" in caplog.text


def test_airflows_words_are_the_ones_that_the_listener_looks_for() -> None:
    """They are no interface; a new version that says it otherwise is found here."""
    from inspect import getsource

    from airflow.api_fastapi.core_api.services.public import dag_run, task_instances

    for module in (dag_run, task_instances):
        assert manual_stop.BY_A_PERSON in getsource(module)
