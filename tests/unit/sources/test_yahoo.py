"""Yahoo's recorded answers, read, and fetched by the real yfinance from a local server."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from include.errors import (
    AuthStale,
    BadPayload,
    Banned,
    EmptyRange,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.event import decode, encode, reason_invalid
from include.market.instrument import Instrument
from include.sources.base import MINUTE_BARS, MINUTE_US, QUOTES, TRADES, Answer, FetchResult, Want
from include.sources.catalogue import catalogue
from include.sources.client import SourceClient
from include.sources.gate import OpenGate
from include.sources.retry import TRIES, retrying
from include.sources.yahoo import SPAN_SECONDS, YahooSource
from include.sources.yahoo_session import YahooTransport
from tests.unit.sources import answers
from tests.unit.sources.answers import AnswerServer, serving

AAPL = catalogue().get("AAPL")
SECOND = 1_000_000
OPENING = 1_727_875_800 * SECOND  # 2024-10-02 13:30 UTC
EVENING = 1_727_986_000 * SECOND  # 2024-10-03, after the close
YEARS_LATER = 4_000_000_000 * SECOND
DAY_US = 24 * 60 * MINUTE_US
SOURCE = YahooSource()
ROW = (1.0, 2.0, 0.5, 1.5, 100)


def chart(rows: list[tuple[Any, ...]], *, price_hint: int = 2, periods: Any = None, **meta: Any) -> bytes:
    """A chart body; rows are (seconds, open, high, low, close, volume)."""
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], [], [], []]
    quotes = dict(zip(("open", "high", "low", "close", "volume"), columns[1:], strict=True))
    about = {"symbol": "AAPL", "currency": "USD", "priceHint": price_hint, "tradingPeriods": periods} | meta
    result = {"meta": about, "timestamp": columns[0], "indicators": {"quote": [quotes]}}
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def stated(code: str, description: str, part: str = "chart") -> bytes:
    return json.dumps({part: {"result": None, "error": {"code": code, "description": description}}}).encode()


def read(
    sent: bytes,
    want: Want = MINUTE_BARS,
    *,
    since_us: int = OPENING,
    now_us: int = EVENING,
    instrument: Instrument = AAPL,
    **headers: str,
) -> FetchResult:
    (question,) = SOURCE.questions(want, [instrument], {instrument.symbol: since_us}, now_us)
    return SOURCE.read(question, Answer(200, headers, sent), now_us)


def fetch(
    server: AnswerServer, want: Want = MINUTE_BARS, *, since_us: int = OPENING, now_us: int = EVENING
) -> FetchResult:
    """The same, through yfinance and a real socket."""
    retry = retrying(sleep=lambda _: None, wait=wait_none())
    client = SourceClient(SOURCE, server.url, YahooTransport(), OpenGate(), retry, lambda: now_us)
    (question,) = SOURCE.questions(want, [AAPL], {"AAPL": since_us}, now_us)
    return client.fetch(question)


@pytest.fixture
def responses(shared_data: Path) -> Path:
    return shared_data / "responses/yahoo"


@pytest.fixture
def recorded(responses: Path) -> bytes:
    return (responses / "chart_AAPL_1m_20241002.json").read_bytes()


def test_a_recorded_session_gives_its_bars_and_the_price(server: AnswerServer, recorded: bytes) -> None:
    server.answers = [answers.Answer(recorded)]
    result = fetch(server)
    bars = [event for event in result.events if event.kind == "bar"]
    quotes = [event for event in result.events if event.kind == "quote"]
    assert (len(bars), len(quotes), result.rejected, result.more) == (389, 1, [], None)
    assert result.dropped == {"no prices": 1, "outside regular hours": 1}
    first = bars[0]
    assert (first.event_id, first.event_time) == (f"yahoo:AAPL:bar60:{OPENING}", OPENING)
    assert [first.open, first.high, first.low, first.close] == [
        Decimal(figure) for figure in ("225.89", "226.11", "225.42", "225.70")
    ]
    assert (first.volume, first.currency) == (Decimal(1_205_461), "USD")
    assert (quotes[0].open, quotes[0].event_time) == (Decimal("225.67"), 1_727_985_601 * SECOND)
    assert all(decode(encode(event)) == event for event in result.events)
    assert [event for event in result.events if reason_invalid(event, EVENING)] == []


def test_where_only_the_price_is_wanted_only_the_price_comes(recorded: bytes) -> None:
    assert [(event.kind, event.close) for event in read(recorded, QUOTES).events] == [("quote", Decimal("225.67"))]


def test_a_recorded_weekend_has_a_price_and_no_bars(responses: Path) -> None:
    sent = (responses / "chart_AAPL_1m_weekend_empty_20250201.json").read_bytes()
    result = read(sent, since_us=YEARS_LATER - MINUTE_US, now_us=YEARS_LATER)
    assert [(event.kind, event.close) for event in result.events] == [("quote", Decimal("244.87"))]


def test_recorded_days_are_not_taken_for_minutes(responses: Path) -> None:
    files = sorted(responses.glob("chart_*_1d_*.json"))
    assert len(files) == 7
    for file in files:
        id_ = json.loads(file.read_bytes())["chart"]["result"][0]["meta"]["symbol"]
        with pytest.raises(BadPayload, match="asked for minutes, got '1d'"):
            read(file.read_bytes(), instrument=Instrument(id_, "stock", id_, {"yahoo": id_}))


@pytest.mark.parametrize("name", ["quote_AAPL.json", "quote_BTC-USD.json", "quote_NONEXIST_empty.json"])
def test_a_recorded_answer_to_another_question_is_a_bad_payload(responses: Path, name: str) -> None:
    with pytest.raises(BadPayload, match="a chart without a result"):
        read((responses / name).read_bytes())


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("error_404_chart_SI_delisted.json", 404, SymbolUnknown),
        ("error_400_chart_BEKE_before_ipo.json", 400, EmptyRange),
        ("error_429_too_many_requests.txt", 429, RateLimited),
        # The body decides: the same words with a good status are the same error.
        ("error_404_chart_SI_delisted.json", 200, SymbolUnknown),
        ("error_400_chart_BEKE_before_ipo.json", 200, EmptyRange),
        ("error_429_too_many_requests.txt", 200, RateLimited),
    ],
)
def test_a_recorded_refusal_is_one_request_and_its_error(
    server: AnswerServer, responses: Path, name: str, status: int, error: type[SourceError]
) -> None:
    server.answers = [answers.Answer((responses / name).read_bytes(), status)]
    with pytest.raises(error):
        fetch(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "sent", "error"),
    [
        (401, stated("Unauthorized", "Invalid Crumb", "finance"), AuthStale),
        (401, stated("Unauthorized", "User is unable to access this feature", "finance"), AuthStale),
        (200, stated("Unauthorized", "Invalid Cookie", "finance"), AuthStale),
        (401, b"", AuthStale),
        (302, b"", AuthStale),
        (200, b'<html><form action="https://consent.yahoo.com/v2/collectConsent">', AuthStale),
        (200, b"Too Many Requests\r\n", RateLimited),
        (200, b"<html><title>Yahoo</title>Will be right back...</html>", Transient),
        (503, b"<html>Will be right back</html>", Transient),
        (500, b"", Transient),
        (502, stated("Internal Server Error", "Oops"), Transient),
        (403, b"<html>", Banned),
        (999, b"Unable to process request at this time -- error 999", Banned),
        (404, stated("Not Found", "No data found, symbol may be delisted"), SymbolUnknown),
        # Not Yahoo's words: a wrong address, and no word about the symbol.
        (404, b"<html>", SourceError),
        (422, stated("Unprocessable Entity", "Invalid input - interval=7m is not supported."), SourceError),
        (
            422,
            stated("Unprocessable Entity", "1m data not available for startTime=1. The requested range must be"),
            EmptyRange,
        ),
        (200, stated("Surprise", "?"), BadPayload),
        (200, b'{"chart":null}', BadPayload),
        (200, b'{"chart":{"result":null,"error":null}}', BadPayload),
        (204, b"", SourceError),
    ],
)
def test_what_is_no_chart_is_its_error(status: int, sent: bytes, error: type[SourceError]) -> None:
    answer = Answer(status, {}, sent)
    (question,) = SOURCE.questions(MINUTE_BARS, [AAPL], {"AAPL": OPENING}, EVENING)
    refused = SOURCE.refusal(answer, EVENING)
    if refused is None:
        with pytest.raises(error) as caught:
            SOURCE.read(question, answer, EVENING)
        refused = caught.value
    assert type(refused) is error


def test_a_rate_limit_says_until_when_if_yahoo_does() -> None:
    limited = [
        SOURCE.refusal(Answer(429, headers, b"Edge: Too Many Requests"), 1_000 * SECOND)
        for headers in ({"retry-after": "90"}, {})
    ]
    assert [error and error.until for error in limited] == [1_090, None]


def test_one_question_is_one_request_to_the_one_host(
    server: AnswerServer, recorded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [answers.Answer(recorded)]
    with serving() as elsewhere:
        # A request to any https host would knock here first.
        monkeypatch.setenv("https_proxy", elsewhere.url)
        fetch(server, since_us=OPENING + 60 * SECOND)
    assert elsewhere.asked == []
    assert server.asked == [
        (
            "/v8/finance/chart/AAPL",
            {"period1": "1727875860", "period2": "1727986001", "interval": "1m", "includePrePost": "false"},
        )
    ]


def test_the_same_past_range_is_asked_again(server: AnswerServer) -> None:
    server.answers = [answers.Answer(chart([(1_727_875_800, 1, 1, 1, 1, volume)])) for volume in (100, 200)]
    assert [fetch(server).events[0].volume for _ in range(2)] == [Decimal(100), Decimal(200)]


def test_a_long_pause_is_asked_for_in_stretches_as_far_back_as_yahoo_keeps(server: AnswerServer) -> None:
    price = {"regularMarketPrice": 2.5, "regularMarketTime": EVENING // SECOND}
    before_listing = answers.Answer(stated("Bad Request", "Data doesn't exist for startDate = 1, endDate = 2"), 400)
    now = EVENING // SECOND // 60 * 60
    rows = [(now - days * 86_400, *ROW) for days in (15, 10, 1)]
    server.answers = [before_listing, *(answers.Answer(chart(rows, **price)) for _ in range(3))]
    result = fetch(server, since_us=0)
    ranges = [(int(query["period1"]), int(query["period2"])) for _, query in server.asked]
    assert 29 * 86_400 < EVENING // SECOND - ranges[0][0] < 30 * 86_400
    assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]
    assert ranges[-1][1] == EVENING // SECOND + 1
    assert max(end - start for start, end in ranges) == SPAN_SECONDS < 8 * 86_400
    # Each row once, in the stretch that it belongs to, and one price.
    bars = [event.event_time // SECOND for event in result.events if event.kind == "bar"]
    assert bars == [row[0] for row in rows]
    assert sum(event.kind == "quote" for event in result.events) == 1
    assert result.more is None


def test_a_slow_answer_is_no_reason_to_ask_on() -> None:
    (question,) = SOURCE.questions(MINUTE_BARS, [AAPL], {"AAPL": OPENING}, EVENING)
    assert SOURCE.read(question, Answer(200, {}, chart([])), EVENING + 300 * SECOND).more is None


def test_an_outage_is_tried_again_and_passes(server: AnswerServer, recorded: bytes) -> None:
    outage = [answers.Answer(b"<html>", 503), answers.Answer(b"<html>Will be right back</html>")]
    server.answers = [*outage, answers.Answer(recorded)]
    assert fetch(server).events
    assert len(server.asked) == TRIES


def test_trades_have_no_question() -> None:
    with pytest.raises(ValueError, match="not asked for"):
        SOURCE.questions(TRADES, [AAPL], {"AAPL": OPENING}, EVENING)
    with pytest.raises(SymbolUnknown, match="no yahoo id"):
        SOURCE.questions(QUOTES, [Instrument("ABC", "stock", "Abc", {})], {}, EVENING)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"<html>hello</html>",
        b'{"chart":null}',
        b'{"chart":{"result":[],"error":null}}',
        b'{"chart":{"result":null,"error":null},"chart":{"result":null,"error":null}}',
        chart([(1_727_875_800, 1, 1, 1, 1, 1)], symbol="MSFT"),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)], currency=None),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)], dataGranularity="5m"),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)], periods=[[{"start": "nine", "end": 5}]]),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)]).replace(b'"volume": [1]', b'"volume": [1, 2]'),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)]).replace(b'"high": [1]', b'"high": [Infinity]'),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)]).replace(b"1727875800", b'"1727875800"'),
        chart([(1_727_875_800, 1, 1, 1, 1, 1)])[:-1],
    ],
)
def test_what_is_no_chart_of_the_symbol_is_a_bad_payload_with_its_body(sent: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        read(sent)
    assert caught.value.payload == sent


def test_only_closed_bars_on_the_grid_are_taken() -> None:
    minute = OPENING // SECOND
    sent = chart([(minute, *ROW), (minute + 60, *ROW), (minute + 117, 1.5, 1.5, 1.5, 1.5, 0)])
    just_before = read(sent, now_us=OPENING + 120 * SECOND - 1)
    assert [event.event_time for event in just_before.events] == [OPENING]
    assert just_before.dropped == {"still open": 1, "live row": 1, "no price": 1}
    at_the_close = read(sent, now_us=OPENING + 120 * SECOND)
    assert [event.event_time for event in at_the_close.events] == [OPENING, OPENING + 60 * SECOND]
    # Our clock may run ahead of the server's.
    held_back = read(sent, now_us=OPENING + 120 * SECOND, date="Wed, 02 Oct 2024 13:31:59 GMT")
    assert [event.event_time for event in held_back.events] == [OPENING]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_row_without_prices_is_left_out_wherever_it_stands(at: int) -> None:
    rows: list[tuple[Any, ...]] = [(OPENING // SECOND + 60 * i, *ROW) for i in range(3)]
    rows[at] = (rows[at][0], None, None, None, None, None)
    result = read(chart(rows))
    assert (len(result.events), result.dropped["no prices"]) == (2, 1)


def test_a_row_from_before_the_question_is_left_out_and_one_far_ahead_is_passed_on_to_be_judged() -> None:
    sent = chart([(OPENING // SECOND, *ROW), (OPENING // SECOND + 7200, *ROW)])
    result = read(sent, since_us=OPENING + 60 * SECOND, now_us=OPENING + 600 * SECOND)
    assert [event.event_time for event in result.events] == [OPENING + 7200 * SECOND]
    assert result.dropped["from before the time asked for"] == 1
    assert reason_invalid(result.events[0], OPENING + 600 * SECOND) == "event time lies in the future"


def test_an_unsaid_volume_stays_unsaid() -> None:
    assert [event.volume for event in read(chart([(OPENING // SECOND, 1, 1, 1, 1, None)])).events] == [None]


@pytest.mark.parametrize(
    "changes",
    [
        {5: 0.5},
        {4: "1.5"},
        {1: True},
        {2: [1]},
        {3: 10**30},
        {0: OPENING // 1_000},
        {0: OPENING},
        {0: 1_000},
    ],
)
def test_a_row_that_is_no_bar_is_rejected_alone_and_can_be_read_again(changes: dict[int, Any]) -> None:
    minute = OPENING // SECOND
    bad: list[Any] = [minute, 1, 2, 0.5, 1.5, 7]
    for column, value in changes.items():
        bad[column] = value
    about = {"regularMarketPrice": 2.5, "regularMarketTime": minute}
    result = read(chart([(minute + 60, *ROW), tuple(bad)], **about))
    assert [event.kind for event in result.events] == ["bar", "quote"]
    (rejected,) = result.rejected
    assert (rejected.symbol, rejected.asked_for) == ("AAPL", "bar60")
    again = read(rejected.raw)
    assert (again.rejected, again.events) == ([rejected], [])
    # Mended by hand, it is that one bar.
    (part,) = json.loads(rejected.raw)["chart"]["result"]
    part["timestamp"] = [minute]
    part["indicators"]["quote"] = [{name: [1] for name in ("open", "high", "low", "close", "volume")}]
    assert len(read(json.dumps({"chart": {"result": [part]}}).encode()).events) == 1


@pytest.mark.parametrize(
    "meta",
    [
        {"regularMarketPrice": "2.5", "regularMarketTime": OPENING // SECOND},
        {"regularMarketPrice": 2.5, "regularMarketTime": OPENING // 1_000},
        {"regularMarketPrice": 2.5, "regularMarketTime": 12},
    ],
)
def test_a_price_that_is_none_is_rejected_and_the_bars_are_kept(meta: dict[str, Any]) -> None:
    result = read(chart([(OPENING // SECOND, *ROW)], **meta))
    assert [event.kind for event in result.events] == ["bar"]
    (rejected,) = result.rejected
    again = read(rejected.raw)
    assert (again.events, again.rejected) == ([], [rejected])


def test_prices_keep_the_places_that_the_chart_names() -> None:
    sent = chart([(OPENING // SECOND, 0.123456789, 0.5, 0.1, 0.25, 1)], price_hint=4)
    assert str(read(sent).events[0].open) == "0.1235"
