"""Yahoo's recorded answers, fetched by the real yfinance from a local server."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import wait_none

from include.errors import BadPayload, EmptyRange, RateLimited, SourceError, SymbolUnknown, Transient
from include.market.event import decode, encode
from include.sources.catalogue import catalogue
from include.sources.retry import TRIES, retrying
from include.sources.yahoo import YahooSource
from include.sources.yahoo_answers import parse_chart, refusal
from tests.unit.sources.answers import Answer, AnswerServer, serving

AAPL = catalogue().get("AAPL")
SECOND = 1_000_000
OPENING = 1_727_875_800 * SECOND  # 2024-10-02 13:30 UTC
EVENING = 1_727_986_000 * SECOND  # 2024-10-03, after the close
YEARS_LATER = 4_000_000_000 * SECOND


def source(server: AnswerServer, now_us: int = EVENING) -> YahooSource:
    return YahooSource(server.url, lambda: now_us, retrying(sleep=lambda _: None, wait=wait_none()))


def chart(rows: list[tuple[Any, ...]], *, price_hint: int = 2, periods: Any = None, **meta: Any) -> bytes:
    """A chart body; rows are (seconds, open, high, low, close, volume)."""
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [
        [],
        [],
        [],
        [],
        [],
        [],
    ]
    quotes = dict(zip(("open", "high", "low", "close", "volume"), columns[1:], strict=True))
    about = {"symbol": "AAPL", "currency": "USD", "priceHint": price_hint, "tradingPeriods": periods} | meta
    result = {"meta": about, "timestamp": columns[0], "indicators": {"quote": [quotes]}}
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


@pytest.fixture
def recorded(shared_data: Path) -> bytes:
    return (shared_data / "responses/yahoo/chart_AAPL_1m_20241002.json").read_bytes()


def test_a_recorded_session_gives_its_bars_and_the_price(server: AnswerServer, recorded: bytes) -> None:
    server.answers = [Answer(recorded)]
    result = source(server).closed_bars(AAPL, OPENING, EVENING)
    bars = [event for event in result.events if event.kind == "bar"]
    quotes = [event for event in result.events if event.kind == "quote"]
    assert (len(bars), len(quotes), result.rejected) == (389, 1, [])
    assert result.dropped == {"no prices": 1, "outside regular hours": 1}
    first = bars[0]
    assert (first.event_id, first.event_time) == (f"yahoo:AAPL:bar60:{OPENING}", OPENING)
    assert [first.open, first.high, first.low, first.close] == [
        Decimal(figure) for figure in ("225.89", "226.11", "225.42", "225.70")
    ]
    assert (first.volume, first.currency) == (Decimal(1_205_461), "USD")
    assert (quotes[0].open, quotes[0].event_time) == (Decimal("225.67"), 1_727_985_601 * SECOND)
    assert all(decode(encode(event)) == event for event in result.events)


def test_one_question_is_one_request_to_the_one_host(
    server: AnswerServer, recorded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [Answer(recorded)]
    with serving() as elsewhere:
        # A request to any https host would knock here first.
        monkeypatch.setenv("https_proxy", elsewhere.url)
        source(server).closed_bars(AAPL, OPENING + 60 * SECOND, EVENING)
    assert elsewhere.asked == []
    assert server.asked == [
        (
            "/v8/finance/chart/AAPL",
            {"period1": "1727875860", "period2": "1727986001", "interval": "1m", "includePrePost": "false"},
        )
    ]


def test_the_same_past_range_is_asked_again(server: AnswerServer) -> None:
    server.answers = [Answer(chart([(1_727_875_800, 1, 1, 1, 1, volume)])) for volume in (100, 200)]
    asked = source(server)
    volumes = [asked.closed_bars(AAPL, OPENING, EVENING).events[0].volume for _ in range(2)]
    assert volumes == [Decimal(100), Decimal(200)]


def test_a_long_pause_asks_no_more_than_yahoo_gives_at_once(server: AnswerServer) -> None:
    server.answers = [Answer(chart([]))]
    source(server).closed_bars(AAPL, 0, EVENING)
    _, query = server.asked[0]
    assert int(query["period2"]) - int(query["period1"]) < 8 * 24 * 3600


def test_a_weekend_has_a_price_and_no_bars(server: AnswerServer, shared_data: Path) -> None:
    body = (shared_data / "responses/yahoo/chart_AAPL_1m_weekend_empty_20250201.json").read_bytes()
    server.answers = [Answer(body)]
    result = source(server, YEARS_LATER).closed_bars(AAPL, OPENING, YEARS_LATER)
    assert [(event.kind, event.close) for event in result.events] == [("quote", Decimal("244.87"))]


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("error_404_chart_SI_delisted.json", 404, SymbolUnknown),
        ("error_400_chart_BEKE_before_ipo.json", 400, EmptyRange),
        ("error_429_too_many_requests.txt", 429, RateLimited),
        # The body decides: the same words with a good status are the same error.
        ("error_404_chart_SI_delisted.json", 200, SymbolUnknown),
        ("error_429_too_many_requests.txt", 200, RateLimited),
    ],
)
def test_a_recorded_refusal_is_one_request_and_its_error(
    server: AnswerServer, shared_data: Path, name: str, status: int, error: type[SourceError]
) -> None:
    server.answers = [Answer((shared_data / "responses/yahoo" / name).read_bytes(), status)]
    with pytest.raises(error):
        source(server).closed_bars(AAPL, OPENING, EVENING)
    assert len(server.asked) == 1


def test_a_range_beyond_yahoos_depth_is_empty() -> None:
    reason = "1m data not available for startTime=1. The requested range must be within the last 30 days."
    stated = {"chart": {"result": None, "error": {"code": "Unprocessable Entity", "description": reason}}}
    assert isinstance(refusal(422, None, json.dumps(stated).encode(), 0), EmptyRange)


def test_a_rate_limit_says_until_when() -> None:
    limited = refusal(429, "90", b"Edge: Too Many Requests", 1_000 * SECOND)
    assert isinstance(limited, RateLimited)
    assert limited.until == 1_090


def test_an_outage_is_tried_again_and_passes(server: AnswerServer, recorded: bytes) -> None:
    server.answers = [Answer(b"<html>", 503), Answer(b"<html>Will be right back</html>"), Answer(recorded)]
    assert source(server).closed_bars(AAPL, OPENING, EVENING).events
    assert len(server.asked) == TRIES


def test_a_dead_host_is_transient() -> None:
    with serving() as gone:
        pass
    with pytest.raises(Transient):
        source(gone).closed_bars(AAPL, OPENING, EVENING)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b'{"chart":null}',
        b'{"chart":{"result":[],"error":null}}',
        chart([(1_727_875_800, 1, 1, 1, 1, 1)], symbol="MSFT"),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)], currency=None),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)]).replace(b'"volume": [1]', b'"volume": [1, 2]'),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)]).replace(b'"high": [1]', b'"high": [Infinity]'),
    ],
)
def test_what_is_no_chart_of_the_symbol_is_a_bad_payload_with_its_body(body: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        parse_chart(body, AAPL, OPENING, EVENING)
    assert caught.value.payload == body


def test_only_closed_bars_on_the_grid_are_taken() -> None:
    minute = OPENING // SECOND
    row = (1.0, 2.0, 0.5, 1.5, 100)
    body = chart([(minute, *row), (minute + 60, *row), (minute + 117, 1.5, 1.5, 1.5, 1.5, 0)])
    just_before = parse_chart(body, AAPL, OPENING, OPENING + 120 * SECOND - 1)
    assert [event.event_time for event in just_before.events] == [OPENING]
    assert just_before.dropped == {"still open": 1, "live row": 1}
    at_the_close = parse_chart(body, AAPL, OPENING, OPENING + 120 * SECOND)
    assert [event.event_time for event in at_the_close.events] == [OPENING, OPENING + 60 * SECOND]


def test_a_row_from_before_the_question_is_left_out_and_one_far_ahead_is_passed_on_to_be_judged() -> None:
    row = (1.0, 2.0, 0.5, 1.5, 100)
    body = chart([(OPENING // SECOND, *row), (OPENING // SECOND + 7200, *row)])
    result = parse_chart(body, AAPL, OPENING + 60 * SECOND, OPENING + 600 * SECOND)
    assert [event.event_time for event in result.events] == [OPENING + 7200 * SECOND]


def test_an_unsaid_volume_stays_unsaid_and_a_fraction_is_rejected_alone() -> None:
    minute = OPENING // SECOND
    body = chart([(minute, 1, 1, 1, 1, None), (minute + 60, 1, 1, 1, 1, 0.5), (minute + 120, 1, 1, 1, "x", 1)])
    result = parse_chart(body, AAPL, OPENING, EVENING)
    assert [event.volume for event in result.events] == [None]
    assert [rejected.raw for rejected in result.rejected] == [
        b"[%d,1,1,1,1,0.5]" % (minute + 60),
        b'[%d,1,1,1,"x",1]' % (minute + 120),
    ]


def test_prices_keep_the_places_that_the_chart_names() -> None:
    body = chart([(OPENING // SECOND, 0.123456789, 0.5, 0.1, 0.25, 1)], price_hint=4)
    assert str(parse_chart(body, AAPL, OPENING, EVENING).events[0].open) == "0.1235"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_spoilt_body_raises_nothing_but_a_source_error(data: st.DataObject) -> None:
    minute = OPENING // SECOND
    periods = [[{"start": minute, "end": minute + 3600}]]
    body = bytearray(
        chart(
            [(minute + 60 * i, 1.25, 2.5, 0.5, 1.5, 10) for i in range(3)],
            periods=periods,
            regularMarketPrice=1.5,
            regularMarketTime=minute,
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3) | st.just(b"9e99"))
    try:
        result = parse_chart(bytes(body), AAPL, OPENING, EVENING)
    except SourceError:
        return
    assert all(decode(encode(event)) == event for event in result.events)
