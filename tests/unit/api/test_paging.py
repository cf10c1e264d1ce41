"""Pages of long answers: all rows once, whatever the format, also while rows are added."""

from __future__ import annotations

import csv
import io
import re

import pytest

from tests.unit.api.whole import MINUTES, client_of
from tests.unit.dashboard.twins import MemoryAnomalies, MemoryReader, anomaly, candle

_ROWS = {"candles": "/api/v1/candles/AAPL", "indicators": "/api/v1/indicators/AAPL", "anomalies": "/api/v1/anomalies"}


@pytest.mark.parametrize("name", _ROWS)
@pytest.mark.parametrize("limit", [1, 3, MINUTES, MINUTES + 1])
def test_the_pages_have_every_row_once(name: str, limit: int) -> None:
    client, page, starts = client_of(), f"{_ROWS[name]}?limit={limit}", []
    while page:
        answer = client.get(page)
        rows = [row["window_start"] for row in answer.json()[name]]
        assert 0 < len(rows) <= limit
        # Candles and indicators: each page oldest first, and the next one is of before it.
        starts = [*rows[::-1], *starts] if name == "anomalies" else [*rows, *starts]
        page = answer.json()["next"]
        assert answer.headers.get("link") == (page and f'<{page}>; rel="next"')
    assert [start[11:16] for start in starts] == [f"14:{30 + minute}" for minute in range(MINUTES)]


def test_rolled_up_candles_go_on_where_one_answer_ends() -> None:
    client, page, starts = client_of(), "/api/v1/candles/AAPL?interval=15m&limit=3", []
    while page:
        body = client.get(page).json()
        starts = [row["window_start"][11:16] for row in body["candles"]] + starts
        page = body["next"]
    assert starts == ["14:30", "14:45", *(f"{h}:{m:02}" for h in (15, 16) for m in (0, 15, 30, 45))]


def test_an_answer_that_ends_before_its_limit_still_has_a_next_page() -> None:
    class Bounded(MemoryReader):
        """Reads no more than two windows at once, as the reader of days does with seventy."""

        def candles(self, symbol, interval, limit=500, before=None, start=None, as_of=None):  # type: ignore[no-untyped-def]
            return super().candles(symbol, interval, min(limit, 2), before, start, as_of)

    held = [candle(5 * n, interval="5m") for n in range(12)]
    client, page, starts = client_of(reader=Bounded(held)), "/api/v1/candles/AAPL?interval=15m", []
    while page:
        body = client.get(page).json()
        starts = [row["window_start"][11:16] for row in body["candles"]] + starts
        page = body["next"]
    assert starts == ["14:30", "14:45", "15:00", "15:15"]


def test_new_candles_do_not_move_the_pages() -> None:
    reader = MemoryReader([candle(minute) for minute in range(6)])
    client = client_of(reader=reader)
    first = client.get("/api/v1/candles/AAPL?limit=3").json()
    reader.held.append(candle(6))
    second = client.get(first["next"]).json()
    assert [row["window_start"][14:16] for row in second["candles"]] == ["30", "31", "32"]


def test_a_cursor_does_not_lead_beyond_the_end_that_is_asked_for() -> None:
    client = client_of()
    cursor = client.get("/api/v1/candles/AAPL?limit=3").json()["next"].rpartition("cursor=")[2]
    body = client.get(f"/api/v1/candles/AAPL?limit=2&end=2026-03-02T14:33:00Z&cursor={cursor}").json()
    assert [row["window_start"][14:16] for row in body["candles"]] == ["31", "32"]


def test_a_page_may_end_between_anomalies_of_one_moment() -> None:
    held = [
        anomaly(0, symbol=symbol, interval=interval, metric=metric)
        for symbol in ("AAPL", "BTC-USD")
        for interval in ("1m", "5m")
        for metric in ("price", "volume")
    ]
    client, page, seen = client_of(anomalies=MemoryAnomalies(held)), "/api/v1/anomalies?limit=3", []
    while page:
        body = client.get(page).json()
        seen += [(row["symbol"], row["interval"], row["metric"]) for row in body["anomalies"]]
        page = body["next"]
    assert seen == [(row.symbol, row.interval, row.metric) for row in held]


def test_the_next_page_has_the_same_filters_and_format() -> None:
    client = client_of()
    answer = client.get(
        "/api/v1/candles/AAPL", params={"limit": 4, "start": "2026-03-02T09:31:00-05:00", "format": "csv"}
    )
    links = [answer.headers["link"]]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    while links[-1]:
        address = re.fullmatch(r'<(/api/v1/candles/AAPL\?.+)>; rel="next"', links[-1])
        assert address
        answer = client.get(address[1])
        rows = list(csv.DictReader(io.StringIO(answer.text))) + rows
        links.append(answer.headers.get("link", ""))
    assert [row["window_start"][14:16] for row in rows] == [f"{minute}" for minute in range(31, 40)]


@pytest.mark.parametrize("path", _ROWS.values())
@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%00",
        "WzFd",  # [1]
        "bnVsbA",  # null
        "WyIyMDI2LTAzLTAyVDE0OjM3OjAwIl0",  # a time without a zone
        "WyIyMDI2LTAzLTAyVDE0OjM3OjAwWiIsImFcdTAwMDAiLCIxbSIsInByaWNlIl0",  # a symbol with a NUL
        "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzEwOjAwIl0",  # of before the calendar
        "W" * 301,
        "",
    ],
)
def test_what_is_no_cursor_is_refused_by_name(path: str, cursor: str) -> None:
    answer = client_of().get(f"{path}?cursor={cursor}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["detail"].startswith("cursor: ")


@pytest.mark.parametrize("limit", ["0", "5001", "-1", "x", "1.5", ""])
def test_the_limit_is_of_1_to_5000(limit: str) -> None:
    answer = client_of().get(f"/api/v1/candles/AAPL?limit={limit}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("limit: ")


def test_the_largest_page_is_served() -> None:
    held = [candle(minute) for minute in range(5001)]
    body = client_of(reader=MemoryReader(held)).get("/api/v1/candles/AAPL?limit=5000").json()
    assert (len(body["candles"]), body["next"] is None) == (5000, False)
