"""The operations page on literal rows: each panel, each state in words, and each source away."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import httpx2
import pytest
import yaml
from dash import no_update
from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.dashboard.charts.colours import colours
from include.dashboard.charts.stream_rate import stream_rate_figure
from include.dashboard.components.dag_runs_table import dag_runs_table
from include.dashboard.components.data_gaps import data_gaps
from include.dashboard.components.letters_list import letter_opened, letters_table
from include.dashboard.components.panel_state import panel
from include.dashboard.components.records_list import SHOWN_CHARACTERS, records_head, records_list, value_text
from include.dashboard.components.sources_panel import sources_table, switches_table
from include.dashboard.components.stream_queries import stream_queries
from include.dashboard.components.topics_table import topics_table
from include.dashboard.letter_callbacks import chosen_of, confirmed, judged_first, opened, version_of
from include.dashboard.operations_callbacks import address_from, shown_records, state_line, stream_parts
from include.dashboard.operations_doors import source_facts
from include.dashboard.operations_page import BY_COMMAND, operations_page
from include.dashboard.operations_selection import OperationsSelection, parse_operations_selection
from include.dashboard.operations_view import CHART_SPAN, StreamPicture
from include.dashboard.operations_words import (
    clock_words,
    duration_words,
    retention_words,
    source_state,
    stream_state,
    watermark_of,
    window_words,
)
from include.dashboard.remembered import Known, Remembered
from include.dashboard.run_routes import create_run_router
from include.errors import Unreachable
from include.operations.dag_runs import AirflowRuns
from include.operations.kafka_look import GROUPS, TOPICS
from include.settings import PROJECT_ROOT, Settings
from include.sources.health import Health
from include.sources.registry import declarations
from include.storage.lease import StreamState
from tests.unit.dashboard.operations_twins import (
    AIRFLOW,
    BAD,
    DEAD,
    DOWN,
    GOOD,
    LOOKS,
    MINUTES,
    NOW,
    QUERIES,
    RECORD,
    RUNNING,
    RUNS,
    SILENT,
    SOURCES,
    STOCKS,
    STOPPED,
    Clock,
    MemoryDesk,
    MemoryOperations,
    TwinLetter,
    operations,
)
from tests.unit.dashboard.test_components import texts

NEWEST = OperationsSelection()
DARK = colours("dark")


def stream(lease: StreamState | None) -> Known[StreamPicture]:
    return Known(StreamPicture(lease, QUERIES, MINUTES), NOW)


def components(part: Any) -> list[Any]:
    """The component and all under it."""
    if isinstance(part, list | tuple):
        return [found for each in part for found in components(each)]
    if part is None or isinstance(part, str | int):
        return []
    return [part, *components(getattr(part, "children", None))]


def hrefs(part: Any) -> list[str]:
    return [each.href for each in components(part) if getattr(each, "href", None)]


@pytest.mark.parametrize(
    ("lease", "sign", "kind", "title", "detail"),
    [
        (RUNNING, "✓", "good", "The stream is running", "lag 1,200 events · epoch 7"),
        (SILENT, "✕", "bad", "The stream is silent", "last heartbeat 3m ago"),
        (DOWN, "✕", "bad", "The stream is down", "no space left"),
        (STOPPED, "■", "waiting", "The stream is stopped", "wanted by admin: upgrade"),
        (replace(RUNNING, desired_state="stopped"), "◐", "warn", "The stream is stopping", "wanted by nobody named"),
        (None, "?", "waiting", "The stream has never been started", "market_stream"),
    ],
)
def test_the_state_of_the_stream_is_one_line_with_a_sign(
    lease: StreamState | None, sign: str, kind: str, title: str, detail: str
) -> None:
    found = stream_state(stream(lease), NOW)
    assert (found.sign, found.kind, found.title) == (sign, kind, title)
    assert detail in found.detail


def test_the_clock_in_the_header_tells_the_heartbeat_or_the_outage() -> None:
    def told(known: Known[StreamPicture], now: datetime = NOW) -> tuple[Any, ...]:
        return tuple(clock_words(known, now)[name] for name in ("words", "seconds", "kind"))

    assert told(stream(RUNNING)) == ("Stream is running", 2.0, "good")
    assert told(stream(DOWN)) == ("Stream is down", None, "trouble")
    away = replace(stream(RUNNING), failure="the database does not answer")
    assert told(away, NOW + timedelta(seconds=40)) == ("Database down", 40.0, "trouble")
    assert told(Known(failure="refused"))[:2] == ("Stream not known", None)


def test_a_query_tells_lag_rates_batch_and_watermark() -> None:
    body = stream_queries(StreamPicture(RUNNING, QUERIES, MINUTES), NOW)
    said = texts(body)
    assert said[0].startswith("Lag, rates and watermark as the driver said at its last heartbeat")
    stock = said[said.index("events_stock") :]
    assert stock == [
        "events_stock", "1,200 events", "12.3/s", "250.0/s", "42", "9s ago", "0.73 s", "13:50:00", "10m",
        "5,000", "▲", "3", "0",
    ]  # fmt: skip
    assert said[said.index("events_crypto") + 1 : said.index("events_stock")] == ["–"] * 11  # noqa: RUF001
    assert "it is not running" in texts(stream_queries(StreamPicture(DOWN, QUERIES, ()), NOW))[0]
    assert texts(stream_queries(StreamPicture(None, (), ()), NOW))[0] == "No query has begun"


def test_the_driver_may_have_said_a_watermark_or_none() -> None:
    assert watermark_of("2026-03-02T13:50:00.000Z") == datetime(2026, 3, 2, 13, 50, tzinfo=UTC)
    assert watermark_of("1970-01-01T00:00:00.000Z") is None
    assert watermark_of(None) is None


def test_the_rows_of_each_minute_are_lines_told_by_dashes() -> None:
    figure = stream_rate_figure(MINUTES, NOW, CHART_SPAN, DARK)
    crypto, stock = figure["data"]
    assert [each["name"] for each in figure["data"]] == ["events_crypto", "events_stock"]
    assert crypto["line"]["dash"] != stock["line"]["dash"]
    # The minute that is on is not whole yet; one without a batch is none.
    assert (len(stock["x"]), stock["x"][-1], stock["y"][-2:]) == (60, "2026-03-02T13:59:00", [0, 80])
    assert figure["layout"]["annotations"] == []
    assert (
        stream_rate_figure((), NOW, CHART_SPAN, DARK)["layout"]["annotations"][0]["text"] == "No batch within the hour"
    )


def test_the_sources_tell_breaker_quotas_and_what_they_serve() -> None:
    view = operations()
    found = view.source_states.look().value
    assert found is not None
    body = sources_table(found, SOURCES, NOW)
    said = texts(body)
    yahoo, alpha, binance = (said.index(name) for name in ("yahoo", "alpha_vantage", "binance"))
    assert said[yahoo : yahoo + 3] == ["yahoo", "✓", "well"]
    assert "crypto minute bars" in said[yahoo:alpha]
    assert " for 5m: binance: status 418" in said[yahoo:alpha]
    assert "60 of 60 calls in a minute, 0 left, next free at 14:00:42 UTC" in said[yahoo:alpha]
    assert "300 of 2,000 calls in an hour, 1,700 left" in said[yahoo:alpha]
    assert said[alpha + 1 : alpha + 3] == ["○", "not asked: it has no key"]
    assert said[binance + 1 : binance + 3] == ["✕", "left alone until 14:20:30 UTC, for 20m"]
    assert said[-1] == "it has banned us: status 418"
    meters = [each for each in components(body) if type(each).__name__ == "Meter"]
    assert (meters[0].value, meters[0].max) == ("60", "60")
    assert "60 of 60 calls" in meters[0].to_plotly_json()["props"]["aria-label"]


def test_a_market_of_which_nothing_was_switched_is_served_by_its_first_choice() -> None:
    found = operations().source_states.look().value
    assert found is not None
    crypto = [each for each in found.serving if each.asset_class == "crypto"]
    said = texts(sources_table(replace(found, serving=crypto), SOURCES, NOW))
    # Of crypto something was switched: nobody's first choice is told.
    assert said.count(" as its first choice") == 1
    place = said.index(" as its first choice")
    assert said[place - 1] == "stock"
    assert said.index("yahoo") < place < said.index("alpha_vantage")


@pytest.mark.parametrize(
    ("health", "sign", "words"),
    [
        (Health(), "✓", "well"),
        (Health(failures=2), "▲", "well, but failed 2 times of late"),
        (Health(state="half_open", failures=3), "◐", "being tried again"),
        (Health(state="open", failures=3, until=NOW.timestamp() - 1), "◐", "being tried again"),
        (Health(state="open", until=NOW.timestamp() + 90_000), "✕", "left alone until 2026-03-03 15:00 UTC, for 1d"),
    ],
)
def test_a_breaker_is_told_in_words_and_by_its_sign(health: Health, sign: str, words: str) -> None:
    found = source_state(health, NOW)
    assert (found[0], found[2]) == (sign, words)


def test_the_switches_tell_from_where_to_where_and_why() -> None:
    found = operations().source_states.look().value
    assert found is not None
    said = texts(switches_table(found, NOW))
    assert said[5:9] == ["13:55:30 UTC", "crypto minute bars", "binance → yahoo", "binance: status 418"]
    assert texts(switches_table(replace(found, switches=()), NOW))[0] == "No switch between sources"


def test_every_declared_source_has_its_quotas_from_the_settings() -> None:
    chosen = Settings.model_validate({"yahoo_calls_per_minute": 7})
    facts = {each.name: each for each in (source_facts(one, chosen) for one in declarations(chosen))}
    assert ("YAHOO_CALLS_PER_MINUTE", 60, 7) in [(q.setting, q.seconds, q.units) for q in facts["yahoo"].quotas]
    assert not facts["alpha_vantage"].has_key


def test_the_topics_are_all_declared_ones_in_order() -> None:
    declared = yaml.safe_load((PROJECT_ROOT / "config" / "kafka.yaml").read_text())["topics"]
    assert list(TOPICS) == list(declared)
    assert set(GROUPS) < set(TOPICS)


def test_a_topic_tells_offsets_what_is_kept_and_the_lag() -> None:
    body = topics_table(LOOKS, NEWEST)
    said = texts(body)
    assert said[0].startswith("4 topics, 92 records kept")
    stocks = said[said.index(STOCKS) :]
    assert stocks[:9] == [STOCKS, "2 in all", "80", "spark-events_stock", "10", "7 days", "partition 0", "0", "100"]
    crypto = said[said.index(TOPICS[1]) :]
    # No group has committed there yet.
    assert crypto[:5] == [TOPICS[1], "2 in all", "5", "spark-events_crypto", "–"]  # noqa: RUF001
    dead = said[said.index(DEAD) :]
    assert dead[:7] == [DEAD, "0", "2", "9", "7", "none", "24 h"]
    assert "the broker does not have it" in said
    assert f"/operations?topic={STOCKS}&partition=1" in hrefs(body)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (f"?topic={STOCKS}&partition=1&offset=120&count=25", OperationsSelection(STOCKS, 1, 120, 25)),
        (f"?topic={STOCKS}&partition=x&offset=-1&count=999", OperationsSelection(STOCKS)),
        (f"?topic={STOCKS}&offset={'9' * 19}", OperationsSelection(STOCKS)),
        ("?topic=__consumer_offsets&offset=1", NEWEST),
        (f"?letter={DEAD}/0/7", OperationsSelection(letter=f"{DEAD}/0/7")),
        ("?letter=../../etc", NEWEST),
        (None, NEWEST),
    ],
)
def test_the_address_holds_what_is_looked_at(search: str | None, expected: OperationsSelection) -> None:
    assert parse_operations_selection(search, TOPICS) == expected
    assert parse_operations_selection(expected.href().removeprefix("/operations"), TOPICS) == expected


def test_a_record_is_shown_as_text_with_every_digit() -> None:
    chosen = OperationsSelection(STOCKS)
    said = texts(records_list([RECORD], chosen))
    assert said[:4] == ["AAPL", "2026-03-02 14:00:30.000 UTC", "partition 0, offset 159", "44 bytes"]
    assert '"<b>": 1.500' in said[4]
    assert hrefs(records_list([RECORD], chosen)) == [f"/operations?topic={STOCKS}&partition=0&offset=149"]
    assert texts(records_list([], chosen))[0] == "The topic is empty"
    assert texts(records_list([], replace(chosen, offset=9)))[0] == "No record from this offset on"
    head = texts(records_head(chosen, LOOKS))
    assert head == [STOCKS, "all partitions", "0", "1", "10", "25", "50"]
    assert texts(records_head(NEWEST, LOOKS))[0] == "No topic is chosen"


def test_a_long_or_strange_value_is_cut_and_never_breaks_the_page() -> None:
    text, remark = value_text(b"x" * 10_000)
    assert (len(text), remark) == (SHOWN_CHARACTERS, "the first 4,096 characters of 10,000 bytes")
    assert value_text(b"\xff{") == ("\\xff{", "")
    assert value_text(b'{"a":"\xff"}') == ('{"a":"\\xff"}', "")
    assert value_text(None) == ("", "no value: a tombstone")
    assert len(value_text(b"[" * 50_000)[0]) == SHOWN_CHARACTERS
    assert len(value_text(json.dumps(["a"] * 30_000).encode())[0]) == SHOWN_CHARACTERS


def test_a_typed_offset_goes_into_the_address() -> None:
    chosen = OperationsSelection(STOCKS, 1)
    assert address_from(chosen, " 1,234 ") == f"?topic={STOCKS}&partition=1&offset=1234"
    assert address_from(replace(chosen, offset=7), "") == f"?topic={STOCKS}&partition=1"
    assert address_from(chosen, "newest") is no_update
    assert address_from(NEWEST, "7") is no_update


def test_records_say_why_they_are_not_there() -> None:
    memory = MemoryOperations()
    view = operations(memory)
    assert shown_records(view, NEWEST) is None
    assert texts(shown_records(view, OperationsSelection(STOCKS)))[0] == "AAPL"
    memory.kafka_up = False
    assert texts(shown_records(view, OperationsSelection(STOCKS)))[0] == "Kafka does not answer"


def test_the_dead_letters_are_listed_with_reason_and_outcome() -> None:
    body = letters_table([GOOD, BAD], {BAD.id}, NEWEST, NOW, can_replay=True)
    said = texts(body)
    assert said[8:14] == ["13:59:30 UTC", "binance", "BTC-USD", "bar60", "row: <i>short</i>", "not replayed"]
    assert said[-1] == "still bad: x"
    boxes = [each for each in components(body) if type(each).__name__ == "Checkbox"]
    assert [(each.id["letter"], each.checked) for each in boxes] == [(GOOD.id, False), (BAD.id, True)]
    assert f"/operations?letter={GOOD.id}" in hrefs(body)
    only_read = letters_table([GOOD], (), NEWEST, NOW, can_replay=False)
    assert [each for each in components(only_read) if type(each).__name__ == "Checkbox"] == []
    assert texts(letters_table([], (), NEWEST, NOW, can_replay=True))[0] == "No dead letter"


def test_a_letter_opens_to_all_that_came() -> None:
    said = texts(letter_opened(replace(GOOD, raw_bytes=99), NEWEST))
    assert '"<script>"' in said[-1]
    assert "only 14 of 99 bytes were kept" in said
    chosen = OperationsSelection(letter=f"{DEAD}/0/404")
    assert texts(opened(MemoryDesk(), chosen)) == [
        "This dead letter cannot be opened",
        f"there is no dead letter {DEAD}/0/404",
    ]
    assert opened(MemoryDesk(), NEWEST) is None


def test_a_replay_is_judged_first_and_publishes_only_what_was_confirmed() -> None:
    desk = MemoryDesk()
    told, judged, is_hidden, changed = judged_first(desk, [GOOD.id, BAD.id])
    assert texts(told)[:2] == ["✓", "Would publish 3 events"]
    assert (judged, is_hidden, changed, desk.published) == ([GOOD.id, BAD.id], False, no_update, [])
    told, judged, is_hidden, changed = confirmed(desk, judged, 1)
    assert texts(told)[1] == "Published 3 events"
    assert (judged, is_hidden, changed, desk.published) == ([], True, 1, [GOOD.id])


def test_there_is_nothing_to_confirm_where_nothing_would_be_published() -> None:
    desk = MemoryDesk()
    assert judged_first(desk, [BAD.id])[1:3] == ([], True)
    assert texts(judged_first(desk, [])[0])[1] == "Nothing is chosen:"
    assert texts(confirmed(desk, [], 1)[0])[1] == "Nothing to publish:"
    desk.up = False
    told, judged, is_hidden, _ = judged_first(desk, [GOOD.id])
    assert texts(told)[1:] == ["It was not done:", " Kafka does not give its dead letters"]
    assert (judged, is_hidden, desk.published) == ([], True, [])


def test_what_is_chosen_stays_chosen_while_nothing_is_new() -> None:
    ids = [{"type": "letter-choice", "letter": each.id} for each in (GOOD, BAD)]
    assert chosen_of([False, True], ids) == [BAD.id]
    known: Known[Any] = Known([GOOD, BAD], NOW)
    assert version_of(known, NEWEST) == version_of(Known([GOOD, BAD], NOW + timedelta(seconds=9)), NEWEST)
    assert version_of(known, NEWEST) != version_of(Known([TwinLetter("t/0/9"), GOOD], NOW), NEWEST)
    assert version_of(known, NEWEST) != version_of(replace(known, failure="away"), NEWEST)


def test_without_the_right_to_write_there_is_no_button() -> None:
    ids = {getattr(each, "id", None) for each in components(operations_page(can_replay=True))}
    assert {"letters-judge", "letters-confirm"} <= ids
    only_read = components(operations_page(can_replay=False))
    assert not {"letters-judge", "letters-confirm"} & {getattr(each, "id", None) for each in only_read}
    assert BY_COMMAND in texts(operations_page(can_replay=False))


def test_the_runs_lead_to_their_pages_in_airflow() -> None:
    body = dag_runs_table(RUNS, AIRFLOW, NOW)
    assert hrefs(body)[0] == f"{AIRFLOW}/dags/market_stream/runs/scheduled__2026-03-02T14%3A00%3A00%2B00%3A00"
    said = texts(body)
    assert said[0] == "The newest 3 runs, 1 failed"
    assert said[6:] == [
        "market_stream", "◐", "running", "scheduled", "14:00:00 UTC", "for 30s now",
        "repair_gaps", "✕", "failed", "manual", "13:51:30 UTC", "1 min 00 s",
        "backfill_bars", "…", "queued", "backfill", "13:50:30 UTC", "not begun",
    ]  # fmt: skip
    assert texts(dag_runs_table([], AIRFLOW, NOW))[0] == "No run yet"


def test_the_missing_minutes_are_told_open_ones_first() -> None:
    found = operations().gaps.look().value
    assert found is not None
    said = texts(data_gaps(found, NOW))
    assert said[0] == "1 open with 20 minutes, 1 that nobody can fill with 1,440"
    aapl = said[said.index("AAPL") : said.index("IBM")]
    assert aapl == [
        "AAPL",
        "2026-03-02 13:30",
        "13:50",
        "20",
        "our outage",
        "▲",
        "open",
        "none yet",
        "2",
        "14:04:30 UTC",
    ]
    assert said[said.index("IBM") + 4 :] == ["halt", "■", "unfillable", "no source has it", "5", "none"]
    empty = operations(MemoryOperations(rows=[])).gaps.look().value
    assert empty is not None
    assert texts(data_gaps(empty, NOW))[0] == "No minute in session is missing"


def test_a_source_that_is_away_leaves_what_was_known_and_says_so() -> None:
    memory, clock = MemoryOperations(), Clock()
    view = operations(memory, clock=clock)
    before = view.stream.look()
    memory.up = False
    clock.passes(10)
    after = view.stream.look()
    assert (after.value, after.at) == (before.value, before.at)
    said = texts(panel(after, lambda found: stream_queries(found, clock()), "The database does not answer"))
    assert said[0] == "The database does not answer: refused: this is as of 14:00:30 UTC; trying again."
    assert "events_stock" in said
    assert view.topics.look().failure is None
    memory.up = True
    clock.passes(10)
    assert view.stream.look().failure is None


def test_what_was_never_known_is_not_told_as_nothing() -> None:
    view = operations(MemoryOperations(up=False, kafka_up=False, airflow_up=False))
    for remembered in (view.stream, view.source_states, view.topics, view.dag_runs, view.letters, view.gaps):
        known: Known[Any] = remembered.look()
        drawn = panel(known, lambda _: "drawn", "It does not answer")
        assert drawn.className == "notice trouble"
        assert texts(drawn)[0] == "It does not answer"
    unknown = view.stream.look()
    assert stream_state(unknown, NOW).title == "The state of the stream is not known"
    assert stream_parts(unknown, NOW, DARK, AIRFLOW)[3]["layout"]["annotations"][0]["text"] == "Not known"
    assert texts(panel(Known(), lambda _: "drawn", "away"))[0] == "Loading"


def test_what_is_not_set_is_named() -> None:
    bare = operations()
    bare._doors = replace(bare._doors, kafka=None, runs=None)
    assert "KAFKA_BOOTSTRAP_SERVERS" in (bare.topics.look().failure or "")
    assert "AIRFLOW_PASSWORD" in (bare.dag_runs.look().failure or "")


def test_readers_who_ask_together_share_an_answer_and_none_waits() -> None:
    memory, clock = MemoryOperations(), Clock()
    view = operations(memory, clock=clock)
    view.stream.look()
    view.stream.look()
    assert memory.asked == 1
    clock.passes(4)
    view.stream.look()
    assert memory.asked == 2
    asked, go_on = Event(), Event()

    def slow() -> str:
        asked.set()
        assert go_on.wait(10)
        return "answer"

    remembered: Remembered[str] = Remembered(slow, clock)
    first = Thread(target=remembered.look)
    first.start()
    assert asked.wait(10)
    assert remembered.look() == Known()
    go_on.set()
    first.join(10)
    assert remembered.look().value == "answer"


def test_the_state_leads_to_airflow_and_to_sparks_own_pages() -> None:
    assert hrefs(state_line(stream(RUNNING), NOW, AIRFLOW)) == [
        f"{AIRFLOW}/dags/market_stream",
        "http://127.0.0.1:4040",
        "/quality",
    ]
    odd = replace(RUNNING, details={"spark_ui": "javascript:alert(1)"})
    assert hrefs(state_line(stream(odd), NOW, AIRFLOW)) == [f"{AIRFLOW}/dags/market_stream", "/quality"]


def test_figures_are_told_in_words() -> None:
    assert [window_words(each) for each in (60, 3600, 86_400, 31 * 86_400, 90)] == [
        "a minute", "an hour", "a day", "31 days", "90 s",
    ]  # fmt: skip
    assert [retention_words(each) for each in (3_600_000, 14 * 86_400_000, None)] == ["1 h", "14 days", "for ever"]
    assert [duration_words(each) for each in (2.04, 61, 3725, None)] == ["2.0 s", "1 min 01 s", "1 h 02 min", ""]


def test_a_run_of_the_checks_leads_to_its_results_and_any_other_to_operations() -> None:
    server = FastAPI()
    server.include_router(create_run_router())
    with TestClient(server, follow_redirects=False) as client:
        checks = client.get("/dag-runs/check_data_quality/manual__2026-03-02T14:00:00+00:00")
        other = client.get("/dag-runs/market_stream/scheduled__2026-03-02T14:00:00+00:00")
    assert (checks.status_code, checks.headers["location"]) == (
        302,
        "/quality?run=manual-2026-03-02T14-00-00-00-00",
    )
    assert other.headers["location"] == "/operations"


class FakeAirflow:
    """Answers like Airflow's API; `valid` is the token that it takes."""

    def __init__(self) -> None:
        self.valid = "one"
        self.logins = 0
        self.status = 200

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/auth/token":
            self.logins += 1
            assert json.loads(request.content) == {"username": "admin", "password": "s3cret"}
            return httpx2.Response(201, json={"access_token": self.valid})
        if request.headers["authorization"] != f"Bearer {self.valid}":
            return httpx2.Response(401)
        assert (request.url.path, request.url.params["order_by"]) == ("/api/v2/dags/~/dagRuns", "-run_after")
        row = {
            "dag_id": "market_stream",
            "dag_run_id": "r",
            "state": "success",
            "run_type": "scheduled",
            "start_date": "2026-03-02T14:00:00Z",
            "end_date": "2026-03-02T14:00:05.500Z",
            "run_after": "2026-03-02T14:00:00Z",
        }
        return httpx2.Response(self.status, json={"dag_runs": [row]} if self.status == 200 else {})


def test_runs_are_read_with_a_token_that_is_kept_and_renewed() -> None:
    airflow = FakeAirflow()
    runs = AirflowRuns("http://airflow", "admin", "s3cret", httpx2.MockTransport(airflow))
    assert [each.duration_seconds for each in (*runs.newest(), *runs.newest())] == [5.5, 5.5]
    assert airflow.logins == 1
    airflow.valid = "two"
    assert len(runs.newest()) == 1
    assert airflow.logins == 2


def test_an_airflow_that_is_away_is_told_without_the_login() -> None:
    airflow = FakeAirflow()
    airflow.status = 503
    runs = AirflowRuns("http://airflow", "admin", "s3cret", httpx2.MockTransport(airflow))
    with pytest.raises(Unreachable, match="status 503") as told:
        runs.newest()
    assert "s3cret" not in str(told.value)

    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(Unreachable, match="Airflow does not answer: ConnectError"):
        AirflowRuns("http://airflow", "admin", "s3cret", httpx2.MockTransport(refuse)).newest()
    with pytest.raises(Unreachable, match="no list of runs"):
        AirflowRuns(
            "http://airflow",
            "admin",
            "x",
            httpx2.MockTransport(lambda _: httpx2.Response(200, json={"access_token": 1})),
        ).newest()
